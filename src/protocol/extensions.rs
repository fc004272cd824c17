//! Extensions that the gateway can route, as both sides declare them in their capabilities (SEP-2133).

use crate::wire::{part::Part, raw::Raw};
use serde_json::{Map, Value};

/// Tasks (SEP-2663).
pub const TASKS: &str = "io.modelcontextprotocol/tasks";
/// Skills (SEP-2640).
pub const SKILLS: &str = "io.modelcontextprotocol/skills";
/// MCP Apps (SEP-1865).
pub const INTERFACES: &str = "io.modelcontextprotocol/ui";

/// Those that lead to the upstream that has them.
pub const ROUTED: [&str; 3] = [TASKS, SKILLS, INTERFACES];

/// What a server declares of an extension, if it has it.
pub fn of<'a>(capabilities: &'a Map<String, Value>, name: &str) -> Option<&'a Map<String, Value>> {
    capabilities.get("extensions")?.get(name)?.as_object()
}

/// Whether a client declares an extension.
pub fn declares(capabilities: &Raw, name: &str) -> bool {
    let declared = Part::of(capabilities).member("extensions").and_then(|all| all.member(name));
    declared.is_some_and(Part::is_object)
}

/// Whether a server of 2025-11-25 can make tasks of calls of tools (experimental).
pub fn makes_tasks(capabilities: &Map<String, Value>) -> bool {
    let of_tools = || capabilities.get("tasks")?.get("requests")?.get("tools")?.get("call");
    of_tools().is_some()
}

#[cfg(test)]
mod tests {
    use super::{SKILLS, TASKS, declares, makes_tasks, of};
    use crate::wire::raw::Raw;
    use rstest::rstest;
    use serde_json::{Map, Value, json};

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("no object: {other}"),
        }
    }

    #[rstest]
    #[case(json!({"extensions": {"io.modelcontextprotocol/tasks": {}}}), true)]
    #[case(json!({"extensions": {"io.modelcontextprotocol/tasks": {"x": 1}}}), true)]
    #[case(json!({"extensions": {"io.modelcontextprotocol/tasks": true}}), false)]
    #[case(json!({"extensions": {"io.modelcontextprotocol/task": {}}}), false)]
    #[case(json!({"extensions": []}), false)]
    #[case(json!({"tasks": {}}), false)]
    fn both_sides_declare_with_an_object(#[case] capabilities: Value, #[case] is_declared: bool) {
        assert_eq!(declares(&Raw::of(&capabilities), TASKS), is_declared);
        let capabilities = object(capabilities);
        assert_eq!(of(&capabilities, TASKS).is_some(), is_declared);
        assert!(of(&capabilities, SKILLS).is_none());
    }

    #[rstest]
    #[case(json!({"tasks": {"requests": {"tools": {"call": {}}}}}), true)]
    #[case(json!({"tasks": {"list": {}, "cancel": {}}}), false)]
    #[case(json!({"tasks": {"requests": {"sampling": {"createMessage": {}}}}}), false)]
    #[case(json!({}), false)]
    fn tasks_of_calls_are_declared_as_such(#[case] capabilities: Value, #[case] is_declared: bool) {
        assert_eq!(makes_tasks(&object(capabilities)), is_declared);
    }
}
