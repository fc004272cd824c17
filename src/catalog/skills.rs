//! Skills of several upstreams (SEP-2640): under URIs that tell whose they are, listed one upstream after the other.
//!
//! The alias is always in the URI, as its first segment, also where nobody else has the same: a client knows a skill by
//! its URI alone. A skill's name is the last segment of its path, and its digests are of its files' bytes, so that both
//! stay valid.

use crate::{
    catalog::{
        name::Alias,
        page,
        uris::{qualified, unqualified},
        view::View,
    },
    protocol::skills::{links, next, with_next},
    wire::{method::Method, raw::Raw, splice::Edit},
};
use std::borrow::Cow;

/// Where a page of all skills begins: at one of an upstream's pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose page it is.
    pub alias: Alias,
    /// The upstream's own cursor; `None` for its first page.
    pub cursor: Option<String>,
}

// === impl View ===

impl View {
    /// Whose skill, or directory of skills, a URI names, and what the upstream calls it; `None` if the URI names no
    /// alias that is seen here. On an alias's own endpoint that is always the alias.
    pub fn skill<'a>(&'a self, uri: &'a str) -> Option<(&'a Alias, Cow<'a, str>)> {
        if let Some(own) = self.own() {
            return self.aliases().contains(own).then(|| (own, uri.into()));
        }
        let (first, native) = unqualified(uri)?;
        Some((self.alias(first)?, native.into()))
    }

    /// The edits after which all URIs in the result of one of the extension's methods lead back to `alias`; the text
    /// says why it is no such result.
    pub fn skills(&self, alias: &Alias, method: &Method, result: &Raw) -> Result<Vec<Edit>, String> {
        let links = links(method, result)?;
        if self.own().is_some() {
            return Ok(Vec::new());
        }
        let shown = |uri: &str| Raw::of(&qualified(alias, uri)).into_bytes();
        Ok(links.into_iter().map(|link| (link.at, shown(&link.uri))).collect())
    }

    /// The same for a page of `skills/list`, and its cursor leads to the next page of this upstream or else to the first
    /// one of `after`.
    pub fn skills_page(
        &self,
        alias: &Alias,
        result: &Raw,
        after: Option<&Alias>,
    ) -> Result<Vec<Edit>, String> {
        let mut edits = self.skills(alias, &Method::SkillsList, result)?;
        if self.own().is_none() {
            let own = next(result).map(|cursor| Place { alias: alias.clone(), cursor: Some(cursor) });
            let place = own.or_else(|| Some(Place { alias: after?.clone(), cursor: None }));
            edits.extend(with_next(result, place.map(|place| place.to_cursor()).as_deref()));
        }
        Ok(edits)
    }

    /// Where a cursor of `skills/list` leads, if it is one of ours and its upstream is seen here.
    pub fn skills_place(&self, cursor: &str) -> Option<Place> {
        let text = page::name_of(cursor)?;
        let (alias, cursor) =
            text.split_once(' ').map_or((&*text, None), |(alias, rest)| (alias, Some(rest)));
        Some(Place { alias: self.alias(alias)?.clone(), cursor: cursor.map(Into::into) })
    }

    fn alias(&self, text: &str) -> Option<&Alias> {
        let at = self.aliases().binary_search_by(|alias| alias.as_str().cmp(text)).ok()?;
        self.aliases().get(at)
    }
}

// === impl Place ===

impl Place {
    /// The cursor that leads there.
    pub fn to_cursor(&self) -> String {
        let Self { alias, cursor } = self;
        // No alias has a space in it.
        let text = cursor.as_ref().map_or_else(|| alias.to_string(), |cursor| format!("{alias} {cursor}"));
        page::cursor_after(&text)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        catalog::{
            merge::{ShowRules, Source, merge},
            name::Alias,
            settings::{NameRules, Show},
            skills::Place,
            view::{Allows, Scope, View},
        },
        protocol::skills::{links, next},
        wire::{method::Method, raw::Raw},
    };
    use bytes::Bytes;
    use proptest::{option, prop_assert_eq, proptest};
    use std::{collections::BTreeMap, sync::Arc};

    fn raw(text: &str) -> Raw {
        Raw::parse(Bytes::from(text.to_owned())).expect("JSON")
    }

    fn alias(text: &str) -> Alias {
        Alias::parse(text, &NameRules::default()).expect("an alias")
    }

    /// The view of `a` and `b` where there is a `hidden` as well.
    fn view(scope: &Scope) -> Arc<View> {
        let source =
            || Source { show: Arc::new(ShowRules::new(&Show::default()).expect("rules")), listing: None };
        let sources: BTreeMap<_, _> = ["a", "b", "hidden"].map(|name| (alias(name), source())).into();
        let sees = |alias: &Alias| alias.as_str() != "hidden";
        merge(&sources, &NameRules::default()).view(0, scope, Allows { tool: &|_| true, alias: &sees })
    }

    const LIST: &str = r#"{ "skills":[{"uri" :"skill:\/\/pdf/SKILL.md","frontmatter":{"name":"pdf","uri":"x:1"},"resources":[ {"size":1e0,"uri":"skill://pdf/SKILL.md"},{"uri":"skill://pdf/ref/a.md"},7]},{"uri":"skill://acme/b/SKILL.md","resources":"dynamic"},{"uri":7},[]], "nextCursor" : "n\u0031","ttlMs":5}"#;

    #[test]
    fn uris_of_skills_say_whose_they_are_and_nothing_else_changes() {
        let (view, result) = (view(&Scope::All), raw(LIST));
        let edits = view.skills_page(&alias("a"), &result, None).expect("a page");
        insta::assert_snapshot!(result.edited(&edits), @r#"{ "skills":[{"uri" :"skill://a/pdf/SKILL.md","frontmatter":{"name":"pdf","uri":"x:1"},"resources":[ {"size":1e0,"uri":"skill://a/pdf/SKILL.md"},{"uri":"skill://a/pdf/ref/a.md"},7]},{"uri":"skill://a/acme/b/SKILL.md","resources":"dynamic"},{"uri":7},[]], "nextCursor" : "YSBuMQ","ttlMs":5}"#);
        let skill = raw(
            r#"{"skill":{"uri":"skill://pdf/SKILL.md","resources":[{"uri":"skill://pdf/a"}]},"uri":"x:1"}"#,
        );
        let edits = view.skills(&alias("b"), &Method::SkillsGet, &skill).expect("a skill");
        insta::assert_snapshot!(skill.edited(&edits), @r#"{"skill":{"uri":"skill://b/pdf/SKILL.md","resources":[{"uri":"skill://b/pdf/a"}]},"uri":"x:1"}"#);
        let files = raw(
            r#"{"resources":[{"mimeType":"inode/directory","name":"pdf","uri":"skill://pdf"}],"nextCursor":"n"}"#,
        );
        let edits = view.skills(&alias("b"), &Method::DirectoryRead, &files).expect("a directory");
        insta::assert_snapshot!(files.edited(&edits), @r#"{"resources":[{"mimeType":"inode/directory","name":"pdf","uri":"skill://b/pdf"}],"nextCursor":"n"}"#);
    }

    #[test]
    fn an_upstream_of_its_own_says_it_as_it_is() {
        let view = view(&Scope::One(alias("a")));
        assert_eq!(view.skills_page(&alias("a"), &raw(LIST), Some(&alias("b"))), Ok(Vec::new()));
        assert_eq!(view.skill("skill://b/x"), Some((&alias("a"), "skill://b/x".into())));
    }

    #[test]
    fn only_who_is_seen_is_found() {
        let view = view(&Scope::All);
        assert_eq!(view.skill("skill://b/pdf/SKILL.md"), Some((&alias("b"), "skill://pdf/SKILL.md".into())));
        for uri in ["skill://pdf/SKILL.md", "skill://hidden/pdf/SKILL.md", "skill://b", "", "b"] {
            assert_eq!(view.skill(uri), None, "{uri}");
        }
        let hidden = Place { alias: alias("hidden"), cursor: None };
        assert_eq!(view.skills_place(&hidden.to_cursor()), None);
        assert_eq!(view.skills_place("no cursor"), None);
    }

    #[test]
    fn a_list_goes_on_with_the_next_upstream() {
        let view = view(&Scope::All);
        for (page, after, expected) in [
            (r#"{"skills":[],"nextCursor":"x"}"#, Some("b"), Some(("a", Some("x")))),
            (r#"{"skills":[],"nextCursor":"x"}"#, None, Some(("a", Some("x")))),
            (r#"{"skills":[],"nextCursor":null}"#, Some("b"), Some(("b", None))),
            (r#"{"skills":[]}"#, Some("b"), Some(("b", None))),
            (r#"{"nextCursor":"", "skills":[]}"#, None, None),
            (r#"{"skills":[]}"#, None, None),
        ] {
            let page = raw(page);
            let after = after.map(alias);
            let page = page.edited(&view.skills_page(&alias("a"), &page, after.as_ref()).expect("a page"));
            let place = next(&page).map(|cursor| view.skills_place(&cursor).expect("a place"));
            let expected =
                expected.map(|(of, cursor)| Place { alias: alias(of), cursor: cursor.map(Into::into) });
            assert_eq!(place, expected, "{page}");
            assert!(expected.is_some() || !page.as_str().contains("nextCursor"));
        }
    }

    #[test]
    fn what_is_no_result_says_why() {
        let view = view(&Scope::All);
        for (method, result, reason) in [
            (Method::SkillsList, r#"{"skills":{}}"#, "`skills` must be an array; found {}"),
            (Method::SkillsList, "{}", "`skills` must be an array; found nothing"),
            (Method::SkillsGet, r#"{"skill":[]}"#, "`skill` must be an object; found none"),
            (Method::DirectoryRead, "{}", "`resources` must be an array; found nothing"),
        ] {
            assert_eq!(view.skills(&alias("a"), &method, &raw(result)), Err(reason.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_leads_back(path in "([a-b]|/|\\{|\"|é|:){0,8}", cursor in option::of("[a ]{0,3}")) {
            let (view, native) = (view(&Scope::All), format!("skill://{path}"));
            let result = Raw::of(&serde_json::json!({"skill": {"uri": native}}));
            let shown = result.edited(&view.skills(&alias("b"), &Method::SkillsGet, &result).expect("a skill"));
            let uri = &links(&Method::SkillsGet, &shown).expect("a skill")[0].uri;
            prop_assert_eq!(view.skill(uri), Some((&alias("b"), native.into())));
            let place = Place { alias: alias("a"), cursor };
            prop_assert_eq!(view.skills_place(&place.to_cursor()), Some(place));
        }
    }
}
