//! The methods of MCP that the gateway tells apart.

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
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
