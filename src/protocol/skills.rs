//! Skills (extension `io.modelcontextprotocol/skills`, SEP-2640): the URIs in results of its methods.

use crate::{
    protocol::links::Link,
    wire::{message::excerpt, method::Method, part::Part, raw::Raw, splice::Edit},
};

const NEXT: &str = "nextCursor";

/// The URIs in the result of `skills/list`, `skills/get` or `resources/directory/read`, in the order in which they stand
/// there; any other result has none. The text says why it is no such result.
///
/// A skill without a usable URI, and files that are not listed (`"dynamic"`), stay as they are.
pub fn links(method: &Method, result: &Raw) -> Result<Vec<Link>, String> {
    let whole = Part::of(result);
    let mut links = Vec::new();
    match method {
        Method::SkillsList => {
            for skill in array(whole, "skills")? {
                of_skill(skill, &mut links);
            }
        }
        Method::SkillsGet => {
            let [skill] = whole.members(["skill"])?;
            let skill = skill.filter(|skill| skill.is_object());
            of_skill(skill.ok_or("`skill` must be an object; found none")?, &mut links);
        }
        Method::DirectoryRead => links.extend(array(whole, "resources")?.into_iter().filter_map(of_file)),
        _ => {}
    }
    links.sort_by_key(|link| link.at.start);
    Ok(links)
}

/// Where the next page of the result begins, if there is one.
pub fn next(result: &Raw) -> Option<String> {
    let next = Part::of(result).member(NEXT)?.string()?;
    Some(next.into_owned()).filter(|next| !next.is_empty())
}

/// The edits after which the result says that its next page begins at `next`, or that there is none.
pub fn with_next(result: &Raw, next: Option<&str>) -> Vec<Edit> {
    let (whole, next) = (Part::of(result), next.map(Raw::of));
    match (next, whole.member(NEXT)) {
        (Some(next), Some(old)) => vec![(old.at(), next.into_bytes())],
        (Some(next), None) => whole.with(&[NEXT], &[(NEXT, next.as_bytes())]),
        (None, _) => whole.with(&[NEXT], &[]),
    }
}

fn array<'a>(whole: Part<'a>, key: &str) -> Result<Vec<Part<'a>>, String> {
    let [list] = whole.members([key])?;
    let list = list.ok_or_else(|| format!("`{key}` must be an array; found nothing"))?;
    list.items().ok_or_else(|| format!("`{key}` must be an array; found {}", excerpt(list.text())))
}

fn of_skill(skill: Part<'_>, links: &mut Vec<Link>) {
    links.extend(of_file(skill));
    let files = skill.member("resources").and_then(Part::items).unwrap_or_default();
    links.extend(files.into_iter().filter_map(of_file));
}

/// The URI of a skill, of one of its files or of what is in a directory.
fn of_file(file: Part<'_>) -> Option<Link> {
    let uri = file.member("uri")?;
    Some(Link { uri: uri.string()?.into_owned(), at: uri.at() })
}
