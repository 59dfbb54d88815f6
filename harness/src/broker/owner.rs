//! Who a container, a process, a directory or a port belongs to: the run, and the process that drives it.
//!
//! Everything a broker leaves on the machine carries an [`Owner`] as text: processes in their environment,
//! containers in a label, directories in their name, ports in the link that reserves them. The sweep asks
//! an owner for its [`Fate`] and touches only what belongs to the dead.

use std::fmt;
use std::path::Path;

/// The id of one run: short, random, and a part of every name the run gives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(String);

impl RunId {
    /// A new one.
    #[expect(clippy::new_without_default, reason = "each is different: a default would hide that")]
    pub fn new() -> RunId {
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let mut bits: u32 = rand::random();
        let letter = |_| {
            let at = (bits & 31) as usize;
            bits >>= 5;
            char::from(ALPHABET[at])
        };
        RunId((0..6).map(letter).collect())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A process, told apart from any later one with the same pid, on this boot and in this pid namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pid: u32,
    /// Ticks since boot when it started; 0 where there is no /proc.
    started: u64,
    boot: String,
    namespace: String,
}

/// What became of an [`Owner`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Alive,
    Dead,
    /// From before this machine's last boot, or from another machine.
    OtherBoot,
    /// Not to be seen from here: another pid namespace, or a system without /proc.
    Unknown,
}

impl Owner {
    /// This process.
    pub(crate) fn this() -> Owner {
        let pid = std::process::id();
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Owner {
            pid,
            started: running_since(pid).unwrap_or(0),
            boot: boot.chars().filter(char::is_ascii_hexdigit).take(12).collect(),
            namespace: namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect(),
        }
    }

    /// Reads what `Display` wrote.
    pub(crate) fn parse(text: &str) -> Option<Owner> {
        let mut parts = text.trim().split('-');
        let owner = Owner {
            pid: parts.next()?.parse().ok()?,
            started: parts.next()?.parse().ok()?,
            boot: parts.next()?.to_owned(),
            namespace: parts.next()?.to_owned(),
        };
        parts.next().is_none().then_some(owner)
    }

    /// What became of it, seen from this process.
    pub(crate) fn fate(&self) -> Fate {
        let this = Owner::this();
        if self.started == 0 || this.started == 0 {
            Fate::Unknown
        } else if self.boot != this.boot {
            Fate::OtherBoot
        } else if self.namespace != this.namespace {
            Fate::Unknown
        } else if running_since(self.pid) == Some(self.started) {
            Fate::Alive
        } else {
            Fate::Dead
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}-{}", self.pid, self.started, self.boot, self.namespace)
    }
}

/// What a name begins with that [`is_of_the_dead`] looks at.
const OURS: &str = "gauntlet-";

/// A name for what outlives this process on a server that is not ours (a virtual host, a proxy): it says whose it is, as
/// `NAME.UID-OWNER`. One that says so already is kept.
pub(crate) fn owned(name: &str) -> String {
    match owner_in(name) {
        Some(_) => name.to_owned(),
        None => format!("{name}.{}-{}", uid(), Owner::this()),
    }
}

/// Whether what has this name was left by a process of this user, on this machine and boot, that is gone. Of any other it
/// cannot be seen from here whether it lives.
pub(crate) fn is_of_the_dead(name: &str) -> bool {
    let ours = name.starts_with(OURS);
    ours && owner_in(name).is_some_and(|(of, owner)| of == uid() && owner.fate() == Fate::Dead)
}

fn owner_in(name: &str) -> Option<(u32, Owner)> {
    let (uid, owner) = name.rsplit_once('.')?.1.split_once('-')?;
    Some((uid.parse().ok()?, Owner::parse(owner)?))
}

/// Another user's processes may be hidden from this one, and then look dead.
fn uid() -> u32 {
    rustix::process::getuid().as_raw()
}

/// When a process started, in ticks since boot; nothing if it is gone or only waits to be reaped.
fn running_since(pid: u32) -> Option<u64> {
    let stat =
        std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The name, in parentheses, may hold anything: the fields are counted from its end.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_survives_being_written_down() {
        let this = Owner::this();
        assert_eq!(Owner::parse(&this.to_string()), Some(this.clone()));
        assert_eq!(Owner::parse(&format!("{this}-more")), None);
        assert_eq!(Owner::parse("12-x-y-z"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn fates() {
        let this = Owner::this();
        assert_eq!(this.fate(), Fate::Alive);
        let other = |change: fn(&mut Owner)| {
            let mut owner = this.clone();
            change(&mut owner);
            owner.fate()
        };
        assert_eq!(other(|o| o.started += 1), Fate::Dead, "the pid was used again");
        assert_eq!(other(|o| o.pid = u32::MAX), Fate::Dead);
        assert_eq!(other(|o| o.boot.push('0')), Fate::OtherBoot);
        assert_eq!(other(|o| o.namespace.push('0')), Fate::Unknown);
        assert_eq!(other(|o| o.started = 0), Fate::Unknown);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn only_what_the_dead_of_this_machine_left_is_swept() {
        let name = owned("gauntlet-abc-1-steady");
        assert_eq!(owned(&name), name);
        assert!(!is_of_the_dead(&name), "this process lives");
        let of = |uid: u32, change: fn(&mut Owner)| {
            let mut owner = Owner::this();
            change(&mut owner);
            format!("gauntlet-abc-1-steady.{uid}-{owner}")
        };
        assert!(is_of_the_dead(&of(uid(), |o| o.pid = u32::MAX)));
        assert!(is_of_the_dead(&of(uid(), |o| o.started += 1)));
        // Another machine, or this one before its last boot: which of the two cannot be told.
        let elsewhere = |o: &mut Owner| {
            o.pid = u32::MAX;
            o.boot.push('0');
        };
        assert!(!is_of_the_dead(&of(uid(), elsewhere)));
        let contained = |o: &mut Owner| {
            o.pid = u32::MAX;
            o.namespace.push('0');
        };
        assert!(!is_of_the_dead(&of(uid(), contained)));
        assert!(!is_of_the_dead(&of(uid() + 1, |o| o.pid = u32::MAX)));
        let foreign = of(uid(), |o| o.pid = u32::MAX).replace("gauntlet-", "shop-");
        assert!(!is_of_the_dead(&foreign));
        for name in ["/", "gauntlet-abc-1-steady", "gauntlet-a.b", "gauntlet-.", ""] {
            assert!(!is_of_the_dead(name), "{name}");
        }
    }

    #[test]
    fn run_ids_are_short_and_differ() {
        let (a, b) = (RunId::new(), RunId::new());
        assert_eq!(a.as_str().len(), 6);
        assert_ne!(a, b);
    }
}
