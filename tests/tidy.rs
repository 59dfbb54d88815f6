//! The rules of the source tree that can be checked are checked here.

use std::path::{Path, PathBuf};

/// Floors: a crate may name only the crates beside it here.
const FLOORS: &[(&str, &[&str])] = &[
    ("amqp", &[]),
    ("faults", &["amqp"]),
    ("network", &["amqp", "faults"]),
    ("broker", &["amqp"]),
    ("consumer", &[]),
    ("judge", &["amqp", "faults"]),
    ("scenarios", &["amqp", "faults", "judge"]),
    ("harness", &["amqp", "faults", "judge", "network", "broker", "consumer"]),
    ("src", &["amqp", "faults", "judge", "network", "broker", "consumer", "harness", "scenarios"]),
];

/// Lines of a source file, its tests included.
const LONGEST_FILE: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![root().join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no source under {dir}");
    found
}

fn all_sources() -> Vec<PathBuf> {
    FLOORS.iter().map(|(dir, _)| *dir).chain(["tests", "benches"]).flat_map(sources).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a source file can be read")
}

#[test]
fn a_crate_imports_only_lower_floors() {
    let crates: Vec<&str> =
        FLOORS.iter().map(|(dir, _)| *dir).filter(|dir| *dir != "src").collect();
    for (dir, allowed) in FLOORS {
        let manifest = if *dir == "src" {
            root().join("Cargo.toml")
        } else {
            root().join(dir).join("Cargo.toml")
        };
        let manifest = read(&manifest);
        let declared = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let declared = declared.split("\n[").next().unwrap_or_default();
        for name in crates.iter().filter(|name| *name != dir && !allowed.contains(name)) {
            assert!(
                !declared.contains(&format!("gauntlet-{name}")),
                "{dir} depends on {name}, which is not below it"
            );
            for path in sources(dir) {
                let uses = format!("gauntlet_{name}");
                assert!(
                    !read(&path).contains(&uses),
                    "{} names {uses}, which is not below it",
                    path.display()
                );
            }
        }
    }
}

/// What decides sees no socket and waits for nothing, whatever it depends on.
#[test]
fn what_judges_has_no_runtime() {
    let tree = std::process::Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "--package",
            "gauntlet-judge",
            "--edges",
            "normal,build",
        ])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .expect("cargo can be run");
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    assert!(tree.contains("gauntlet-faults"), "no tree: {tree}");
    for runtime in
        ["tokio", "async-std", "smol", "lapin", "hyper", "socket2", "mio", "testcontainers"]
    {
        let there = tree.lines().any(|line| line.split(' ').next() == Some(runtime));
        assert!(!there, "gauntlet-judge depends on {runtime}:\n{tree}");
    }
}

#[test]
fn every_file_says_first_what_it_owns() {
    for path in all_sources() {
        assert!(read(&path).starts_with("//! "), "{} does not open with `//! `", path.display());
    }
}

#[test]
fn no_file_is_two() {
    for path in all_sources() {
        let lines = read(&path).lines().count();
        assert!(
            lines <= LONGEST_FILE,
            "{} has {lines} lines; {LONGEST_FILE} is two files",
            path.display()
        );
    }
}

#[test]
fn nothing_sleeps_where_clippy_does_not_see_it() {
    // clippy.toml bans the functions; an `#[expect]` of the ban must say why.
    for path in all_sources() {
        for (number, line) in read(&path).lines().enumerate() {
            let excused = line.contains("disallowed_methods") && !line.contains("reason");
            let here = path.ends_with("tidy.rs");
            assert!(
                here || !excused,
                "{}:{}: a ban lifted without a reason",
                path.display(),
                number + 1
            );
        }
    }
}

#[test]
fn no_generated_or_local_path_is_committed() {
    let ignore = read(&root().join(".gitignore"));
    assert!(ignore.contains("/target") && ignore.contains("/gauntlet-out"));
}

/// Words of our own for what has a standard name; docs/glossary.md has the standard ones. Type names stand in code, phrases
/// anywhere.
const BANNED: &[&str] = &[
    "Backstage",
    "Bout",
    "Charges",
    "CutHow",
    "Entrant",
    "NotAtStake",
    "Tale",
    "Treatment",
    "at stake",
    "declared anew",
    "could not be had",
];

#[test]
fn what_has_a_standard_name_has_no_other() {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    for path in all_sources().into_iter().filter(|path| !path.ends_with("tidy.rs")) {
        for (number, line) in read(&path).lines().enumerate() {
            for banned in BANNED {
                let whole = |(at, found): (usize, &str)| {
                    !line[..at].ends_with(in_word) && !line[at + found.len()..].starts_with(in_word)
                };
                assert!(
                    !line.match_indices(banned).any(whole),
                    "{}:{}: `{banned}`; see docs/glossary.md",
                    path.display(),
                    number + 1
                );
            }
        }
    }
}
