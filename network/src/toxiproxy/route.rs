//! Which handler answers which path and method: one table.

use bytes::Bytes;
use percent_encoding::percent_decode_str;

use super::{VERSION, answer::Answer, collection::Collection};

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Reset,
    Index,
    Create,
    Populate,
    Show,
    Update,
    Delete,
    Toxics,
    AddToxic,
    ShowToxic,
    UpdateToxic,
    RemoveToxic,
    Version,
    Metrics,
}

/// Path, methods and what they call; `*` is any method, `{}` a name.
const ROUTES: &[(&str, &[(&str, Call)])] = &[
    ("reset", &[("POST", Call::Reset)]),
    ("proxies", &[("GET", Call::Index), ("POST", Call::Create)]),
    ("populate", &[("POST", Call::Populate)]),
    (
        "proxies/{}",
        &[
            ("GET", Call::Show),
            ("POST", Call::Update),
            ("PATCH", Call::Update),
            ("DELETE", Call::Delete),
        ],
    ),
    ("proxies/{}/toxics", &[("GET", Call::Toxics), ("POST", Call::AddToxic)]),
    (
        "proxies/{}/toxics/{}",
        &[
            ("GET", Call::ShowToxic),
            ("POST", Call::UpdateToxic),
            ("PATCH", Call::UpdateToxic),
            ("DELETE", Call::RemoveToxic),
        ],
    ),
    ("version", &[("GET", Call::Version)]),
    ("metrics", &[("*", Call::Metrics)]),
];

/// A request's handler and the names in its path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    call: Call,
    names: Vec<String>,
}

/// Finds what answers a request; otherwise says what Toxiproxy says.
pub(super) fn find(method: &str, path: &str, collection: &Collection) -> Result<Found, Answer> {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let clean = clean(&decoded);
    if clean != decoded {
        return Err(Answer::moved(clean));
    }
    let nothing = || Answer::text(404, "404 page not found\n");
    let segments: Vec<&str> = decoded.strip_prefix('/').unwrap_or(&decoded).split('/').collect();
    let (names, methods) = ROUTES
        .iter()
        .find_map(|(pattern, methods)| Some((fits(pattern, &segments)?, methods)))
        .ok_or_else(nothing)?;
    let called = methods.iter().find(|(name, _)| *name == "*" || *name == method);
    match called {
        None => Err(Answer::not_allowed()),
        Some((_, Call::Metrics)) if !collection.metrics().any() => Err(nothing()),
        Some((_, call)) => Ok(Found { call: *call, names }),
    }
}

fn fits(pattern: &str, segments: &[&str]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut parts = pattern.split('/');
    for segment in segments {
        match parts.next()? {
            "{}" if !segment.is_empty() => names.push((*segment).to_owned()),
            part if part == *segment => {}
            _ => return None,
        }
    }
    parts.next().is_none().then_some(names)
}

/// Without empty segments and dots; a slash at the end stays.
fn clean(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => _ = kept.pop(),
            segment => kept.push(segment),
        }
    }
    let end = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

impl Found {
    /// Has it answered.
    pub(super) async fn call(self, all: &Collection, body: Bytes) -> Answer {
        let name = |n: usize| self.names.get(n).map(String::as_str).unwrap_or_default();
        let answered = match self.call {
            Call::Version => {
                let version = format!("{{\"version\": \"{VERSION}\"}}\n");
                Ok(Answer::typed("application/json;charset=utf-8", version))
            }
            Call::Metrics => Ok(all.render_metrics().await),
            Call::Index => Ok(Answer::ok(all.render().await)),
            Call::Reset => all.reset().await.map(|()| Answer::done()),
            Call::Create => all.create(&body).await.map(|made| Answer::json(201, made)),
            Call::Populate => Ok(all.populate(&body).await.into()),
            Call::Delete => all.delete(name(0)).await.map(|()| Answer::done()),
            _ => match all.get(name(0)).await {
                Err(refusal) => Err(refusal),
                Ok(proxy) => match self.call {
                    Call::Update => proxy.update(&body).await.map(Answer::ok),
                    Call::Toxics => Ok(Answer::ok(proxy.render_toxics().await)),
                    Call::AddToxic => proxy.add(&body).await.map(Answer::ok),
                    Call::ShowToxic => proxy.render_toxic(name(1)).await.map(Answer::ok),
                    Call::UpdateToxic => proxy.change(name(1), &body).await.map(Answer::ok),
                    Call::RemoveToxic => proxy.remove(name(1)).await.map(|()| Answer::done()),
                    _ => Ok(Answer::ok(proxy.render().await)),
                },
            },
        };
        answered.unwrap_or_else(Answer::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_from_the_path() {
        let check = |path: &str, expect: Option<&[&str]>| {
            let segments: Vec<&str> = path.split('/').collect();
            let found = ROUTES.iter().find_map(|(pattern, _)| fits(pattern, &segments));
            let found: Option<Vec<&str>> =
                found.as_ref().map(|names| names.iter().map(String::as_str).collect());
            assert_eq!(found.as_deref(), expect, "{path}");
        };
        check("proxies", Some(&[]));
        check("proxies/a b", Some(&["a b"]));
        check("proxies/a/toxics/t", Some(&["a", "t"]));
        check("proxies/", None);
        check("proxies/a/b", None);
    }

    #[test]
    fn paths_are_cleaned() {
        let check = |path: &str, expect: &str| assert_eq!(clean(path), expect);
        check("/", "/");
        check("//proxies", "/proxies");
        check("/proxies/", "/proxies/");
        check("/a/./b/../c", "/a/c");
    }
}
