//! What concerns one machine and does not belong into a repository: where packages come from, where files lie.

use crate::house::Violation;

/// Files that tools write, package addresses included.
const LOCK_FILES: &[&str] = &["Cargo.lock", "package-lock.json"];

/// Package registries; in parts, so that this file is none that names them.
const REGISTRIES: &[&[&str]] = &[
    &["registry", "npmjs", "org"],
    &["registry", "yarnpkg", "com"],
    &["pypi", "org"],
    &["pythonhosted", "org"],
    &["index", "crates", "io"],
    &["static", "crates", "io"],
    &["proxy", "golang", "org"],
    &["sum", "golang", "org"],
    &["rubygems", "org"],
];

/// A host with one of these in its name is somebody's copy of a registry.
const MIRROR_WORDS: &[&str] =
    &["artifactory", "crates", "goproxy", "mirror", "mirrors", "nexus", "npm", "pip", "pypi", "registry"];

/// Folders of one machine; a path below one of them means nothing anywhere else.
const MACHINE_FOLDERS: &[&str] = &["work", "root"];

/// What a text file says about one machine.
pub(super) fn check(path: &str, text: &str) -> Vec<Violation> {
    let file = path.rsplit('/').next().unwrap_or_default();
    let is_lock_file = LOCK_FILES.contains(&file);
    let mut violations = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        if let Some(host) = registry(text).filter(|_| !is_lock_file) {
            let text = format!("`{host}` is a package registry: leave it to the tool's own configuration");
            violations.push(Violation::new(path, line, text));
        }
        if let Some(found) = machine_path(text) {
            let text = format!(
                "`{found}…` is a path of one machine: make it relative, or take it from the environment"
            );
            violations.push(Violation::new(path, line, text));
        }
    }
    violations
}

fn registry(line: &str) -> Option<String> {
    let line = line.to_ascii_lowercase();
    let known = REGISTRIES.iter().map(|parts| parts.join(".")).find(|host| names_host(&line, host));
    known.or_else(|| {
        let hosts = line.split("://").skip(1).map(|rest| {
            let end = rest.find(|symbol: char| !(symbol.is_ascii_alphanumeric() || ".-_@".contains(symbol)));
            let authority = &rest[..end.unwrap_or(rest.len())];
            authority.rsplit('@').next().unwrap_or_default()
        });
        let is_mirror = |host: &&str| host.split(['.', '-']).any(|word| MIRROR_WORDS.contains(&word));
        hosts.into_iter().find(is_mirror).map(str::to_owned)
    })
}

/// Whether the line names the host or one below it; `crates.io-index` and `my-pypi.org.example` are other names.
fn names_host(line: &str, host: &str) -> bool {
    line.match_indices(host).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + host.len()..].chars().next();
        let is_name = |symbol: char| symbol.is_ascii_alphanumeric() || symbol == '-';
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    })
}

fn machine_path(line: &str) -> Option<String> {
    MACHINE_FOLDERS.iter().map(|folder| format!("/{folder}/")).find(|folder| {
        line.match_indices(folder).any(|(at, _)| {
            // `$DIR/work/x` and `https://host/root/x` are other paths, and `/work/` alone is a route.
            let is_inner = |symbol: char| symbol.is_alphanumeric() || "._-~*})]%>".contains(symbol);
            let goes_on = |symbol: char| symbol.is_alphanumeric() || "._-$*{<".contains(symbol);
            !line[..at].ends_with(is_inner) && line[at + folder.len()..].starts_with(goes_on)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{LOCK_FILES, REGISTRIES, check};

    #[test]
    fn registries_are_found_and_lock_files_may_name_them() {
        for parts in REGISTRIES {
            let text = format!("first\nnpm install --registry https://{}/x\n", parts.join("."));
            assert_eq!(check("run", &text).len(), 1, "{text}");
            assert_eq!(check("run", &text)[0].line, 2);
            for file in LOCK_FILES {
                assert!(check(&format!("a/{file}"), &text).is_empty());
            }
        }
        let mirror = format!("index-url = https://user@{}.lan/simple", ["pypi", "mirror"].join("-"));
        assert_eq!(check("pip.conf", &mirror).len(), 1);
        let own = "https://github.com/somebody/crates.io-index https://docs.example/registry/npm";
        assert!(check("README.md", own).is_empty());
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        for folder in ["work", "root"] {
            for text in
                [format!("cd /{folder}/x"), format!("a=\"/{folder}/.cache\""), format!("(/{folder}/$X)")]
            {
                assert_eq!(check("run", &text).len(), 1, "{text}");
            }
            for text in
                [format!("$DIR/{folder}/x"), format!("https://h.example/{folder}/x"), format!("/{folder}s/x")]
            {
                assert!(check("run", &text).is_empty(), "{text}");
            }
        }
    }
}
