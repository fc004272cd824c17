//! The methods of MCP that the gateway tells apart.

use crate::wire::message::excerpt;
use std::fmt;

macro_rules! methods {
    ($($name:ident = $text:literal),+ $(,)?) => {
        /// A JSON-RPC method: one that is known here, or any other, kept as it was.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Method {
            $(#[doc = concat!("`", $text, "`")] $name,)+
            /// Any other method.
            Other(Box<str>),
        }

        impl Method {
            /// The method's name on the wire.
            pub fn as_str(&self) -> &str {
                match self { $(Self::$name => $text,)+ Self::Other(name) => name }
            }
        }

        impl From<&str> for Method {
            fn from(name: &str) -> Self {
                match name { $($text => Self::$name,)+ _ => Self::Other(name.into()) }
            }
        }
    };
}

methods! {
    Initialize = "initialize",
    Initialized = "notifications/initialized",
    Ping = "ping",
    Discover = "server/discover",
    ToolsList = "tools/list",
    ToolsCall = "tools/call",
    LogMessage = "notifications/message",
    SetLevel = "logging/setLevel",
    Cancelled = "notifications/cancelled",
    Progress = "notifications/progress",
    ToolsChanged = "notifications/tools/list_changed",
    ResourcesList = "resources/list",
    TemplatesList = "resources/templates/list",
    ResourcesRead = "resources/read",
    Subscribe = "resources/subscribe",
    Unsubscribe = "resources/unsubscribe",
    ResourcesUpdated = "notifications/resources/updated",
    ResourcesChanged = "notifications/resources/list_changed",
    PromptsList = "prompts/list",
    PromptsGet = "prompts/get",
    PromptsChanged = "notifications/prompts/list_changed",
    Complete = "completion/complete",
    Sampling = "sampling/createMessage",
    Elicit = "elicitation/create",
    ElicitComplete = "notifications/elicitation/complete",
    RootsList = "roots/list",
    RootsChanged = "notifications/roots/list_changed",
    TasksGet = "tasks/get",
    TasksResult = "tasks/result",
    TasksList = "tasks/list",
    TasksCancel = "tasks/cancel",
    TaskStatus = "notifications/tasks/status",
    TasksUpdate = "tasks/update",
    TaskNotice = "notifications/tasks",
    Listen = "subscriptions/listen",
    Acknowledged = "notifications/subscriptions/acknowledged",
    SkillsList = "skills/list",
    SkillsGet = "skills/get",
    DirectoryRead = "resources/directory/read",
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Whoever sends it chose it: no lines of a log, and no more than the beginning.
            Self::Other(name) => formatter.write_str(&excerpt(name)),
            known => formatter.write_str(known.as_str()),
        }
    }
}
