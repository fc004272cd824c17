//! The URIs that a result refers to, and where they stand in it.

use crate::wire::{part::Part, raw::Raw};
use memchr::memmem;
use std::ops::Range;

/// A URI inside a text of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The URI, unescaped.
    pub uri: String,
    /// Where its JSON string stands.
    pub at: Range<usize>,
}

/// The URIs that a result of `tools/call`, `prompts/get` or `resources/read` refers to, in the order in which they
/// stand there.
///
/// Whatever is not shaped as the schema says refers to nothing; `structuredContent` is the tool's own business.
pub fn links(payload: &Raw) -> Vec<Link> {
    // Most results refer to nothing, and one pass over the bytes tells.
    let names = |key: &str| memmem::find(payload.as_bytes(), key.as_bytes()).is_some();
    if !names("\"uri\"") && !names("esourceUri\"") {
        return Vec::new();
    }
    let whole = Part::of(payload);
    let Ok([content, messages, contents, meta]) = whole.members(["content", "messages", "contents", "_meta"])
    else {
        return Vec::new();
    };
    let mut links: Vec<Link> = meta.map(of_meta).unwrap_or_default();
    links.extend(items(content).into_iter().filter_map(of_block));
    for message in items(messages) {
        let Some(content) = message.member("content") else { continue };
        // One block until now; several are on their way into the protocol.
        let blocks = content.items().unwrap_or_else(|| vec![content]);
        links.extend(blocks.into_iter().filter_map(of_block));
    }
    links.extend(items(contents).into_iter().filter_map(|read| link(read.member("uri")?)));
    links.sort_by_key(|link| link.at.start);
    links
}

/// The URIs of the interface that a definition's `_meta` names (MCP Apps): the member, and its older flat spelling.
pub fn of_interface(definition: &Raw) -> Vec<Link> {
    let mut links = Part::of(definition).member("_meta").map(of_meta).unwrap_or_default();
    links.sort_by_key(|link| link.at.start);
    links
}

/// Whether the interface of a tool's server may call it (MCP Apps, `_meta.ui.visibility`): unless it is said, it may.
pub fn is_for_interfaces(definition: &Raw) -> bool {
    let seen_by = || Part::of(definition).member("_meta")?.member("ui")?.member("visibility")?.items();
    seen_by().is_none_or(|all| all.into_iter().filter_map(Part::string).any(|who| who == "app"))
}

/// Whether a notice about `uri` concerns who subscribed to `subscribed`: the resource itself, or a part of it
/// (resources, "Subscriptions").
pub fn covers(subscribed: &str, uri: &str) -> bool {
    uri.strip_prefix(subscribed)
        .is_some_and(|rest| rest.is_empty() || subscribed.ends_with('/') || rest.starts_with(['/', '?', '#']))
}

fn items(part: Option<Part<'_>>) -> Vec<Part<'_>> {
    part.and_then(Part::items).unwrap_or_default()
}

fn of_meta(meta: Part<'_>) -> Vec<Link> {
    let nested = meta.member("ui").and_then(|ui| ui.member("resourceUri"));
    [nested, meta.member("ui/resourceUri")].into_iter().flatten().filter_map(link).collect()
}

fn of_block(block: Part<'_>) -> Option<Link> {
    let [kind, uri, resource] = block.members(["type", "uri", "resource"]).ok()?;
    match kind?.string()?.as_ref() {
        "resource_link" => link(uri?),
        "resource" => link(resource?.member("uri")?),
        _ => None,
    }
}

fn link(uri: Part<'_>) -> Option<Link> {
    Some(Link { uri: uri.string()?.into_owned(), at: uri.at() })
}

#[cfg(test)]
mod tests {
    use super::{covers, is_for_interfaces, links, of_interface};
    use crate::wire::raw::Raw;
    use bytes::Bytes;
    use proptest::{prop_assert, proptest};
    use rstest::rstest;

    fn raw(text: &str) -> Raw {
        Raw::parse(Bytes::from(text.to_owned())).expect("JSON")
    }

    #[rstest]
    #[case(r#"{"content":[{"type":"resource_link","uri":"a:1"},{"type":"text","text":"\"uri\"","uri":"a:2"}]}"#, &["a:1"])]
    #[case(r#"{"content":[{"resource":{"text":"","uri":"a:\u0031"},"type":"resource"}],"structuredContent":{"content":[{"type":"resource_link","uri":"a:2"}]}}"#, &["a:1"])]
    #[case(r#"{"messages":[{"content":{"type":"resource","resource":{"uri":"a:1"}}},{"content":[{"type":"resource_link","uri":"a:2"}]}]}"#, &["a:1", "a:2"])]
    #[case(r#"{"contents":[{"uri":"a:1"},{"uri":7},{},[],{"uri":"a:2"}],"_meta":{"ui":{"resourceUri":"a:3"},"ui/resourceUri":"a:4"}}"#, &["a:1", "a:2", "a:3", "a:4"])]
    #[case(r#"{"content":{"type":"resource_link","uri":"a:1"},"messages":"uri","contents":null,"_meta":["uri"]}"#, &[])]
    #[case(r#"{"content":[],"content":[{"type":"resource_link","uri":"a:1"}]}"#, &[])]
    #[case(r#"["uri"]"#, &[])]
    fn what_refers(#[case] text: &str, #[case] expected: &[&str]) {
        let payload = raw(text);
        let found = links(&payload);
        assert_eq!(found.iter().map(|link| &*link.uri).collect::<Vec<_>>(), expected);
        for link in found {
            let text: String = serde_json::from_str(&payload.as_str()[link.at]).expect("a JSON string");
            assert_eq!(text, link.uri);
        }
    }

    #[rstest]
    #[case("x://a", "x://a", true)]
    #[case("x://a", "x://a/b", true)]
    #[case("x://a", "x://a?b", true)]
    #[case("x://a", "x://a#b", true)]
    #[case("x://a/", "x://a/b", true)]
    #[case("x://a", "x://ab", false)]
    #[case("x://a/b", "x://a", false)]
    fn a_part_is_not_what_only_begins_alike(
        #[case] subscribed: &str,
        #[case] uri: &str,
        #[case] is_part: bool,
    ) {
        assert_eq!(covers(subscribed, uri), is_part);
    }

    #[rstest]
    #[case(r#"{"name":"a"}"#, true)]
    #[case(r#"{"_meta":{"ui":{"resourceUri":"ui:1"}}}"#, true)]
    #[case(r#"{"_meta":{"ui":{"visibility":["app"]}}}"#, true)]
    #[case(r#"{"_meta":{"ui":{"visibility":["model","app"]}}}"#, true)]
    #[case(r#"{"_meta":{"ui":{"visibility":["model"]}}}"#, false)]
    #[case(r#"{"_meta":{"ui":{"visibility":[]}}}"#, false)]
    #[case(r#"{"_meta":{"ui":{"visibility":"model"}}}"#, true)]
    fn a_tool_says_whether_its_interface_may_call_it(#[case] definition: &str, #[case] may_call: bool) {
        assert_eq!(is_for_interfaces(&raw(definition)), may_call);
    }

    #[test]
    fn a_definition_refers_to_its_interface() {
        let both = raw(r#"{"name":"a","_meta":{"ui/resourceUri":"ui:1","ui":{"resourceUri":"ui:2"}}}"#);
        assert_eq!(of_interface(&both).iter().map(|link| &*link.uri).collect::<Vec<_>>(), ["ui:1", "ui:2"]);
        assert!(of_interface(&raw(r#"{"name":"a","_meta":{"ui":"ui:1"}}"#)).is_empty());
    }

    proptest! {
        #[test]
        fn any_shape_is_taken(
            text in "(\\{\"(content|contents|messages|_meta|ui|type|uri|resource)\":|\\[|\"uri\"|,|\\}|\\]|1){0,24}",
        ) {
            let Ok(payload) = Raw::parse(Bytes::from(text)) else { return Ok(()) };
            prop_assert!(links(&payload).len() <= payload.as_bytes().len());
        }
    }
}
