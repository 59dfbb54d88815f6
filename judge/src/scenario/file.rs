//! Reading a scenario file: unknown keys are refused with the nearest name, values with their bounds.

use gauntlet_faults::Fault;

use super::{BrokerFault, Scenario, Step, SubjectFault, Trigger};
use crate::broker_fault::{About, Needs};
use crate::checkers::CHECKERS;

/// A scenario file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("scenario `{name}`: {message}{hint}")]
    Syntax {
        /// The scenario's name.
        name: String,
        /// What the parser says, with line and column.
        message: String,
        /// The nearest name, when there is one.
        hint: String,
    },
    /// A value out of bounds, or keys that do not go together.
    #[error("scenario `{name}`: {message}")]
    Value {
        /// The scenario's name.
        name: String,
        /// What is wrong, quoting it, and what is allowed.
        message: String,
    },
}

/// Parses and checks one scenario. The comment lines on top become its story.
pub fn parse(name: &str, text: &str) -> Result<Scenario, ScenarioError> {
    let mut scenario: Scenario = toml::from_str(text).map_err(|e| ScenarioError::Syntax {
        name: name.to_owned(),
        message: e.to_string().trim_end().to_owned(),
        hint: nearest_hint(e.message()),
    })?;
    if !(scenario.name.is_empty() && scenario.story.is_empty()) {
        let message =
            "`name` and `story` are not keys: the file's name and the comment on top of it are"
                .to_owned();
        return Err(ScenarioError::Value { name: name.to_owned(), message });
    }
    scenario.name = name.to_owned();
    scenario.story = story(text);
    forget_flows(&mut scenario, text);
    check(&scenario).map_err(|message| ScenarioError::Value { name: name.to_owned(), message })?;
    Ok(scenario)
}

/// A blackhole at a point of the protocol that nothing lifts tells of a flow that is forgotten, unless it says
/// otherwise: lifting it at once, as the schedule is through, would leave nothing of it.
fn forget_flows(scenario: &mut Scenario, text: &str) {
    let table: toml::Table = toml::from_str(text).unwrap_or_default();
    let steps = table.get("step").and_then(|s| s.as_array());
    for (i, step) in scenario.steps.iter_mut().enumerate() {
        let its = steps.and_then(|s| s.get(i)?.get("fault"));
        let said = its.is_some_and(|fault| fault.get("resume").is_some());
        let at_a_point = matches!(step.when, Trigger::Frame { .. }) && step.lasts.is_none();
        if let (Some(Fault::Blackhole { resume, .. }), false, true) =
            (&mut step.fault, said, at_a_point)
        {
            *resume = false;
        }
    }
}

fn story(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map_while(|l| l.strip_prefix('#')).map(str::trim).collect();
    lines.join("\n")
}

/// "unknown field `stpe`, expected one of `step`, ..." becomes "; did you mean `step`?".
pub fn nearest_hint(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(given) = quoted.next().filter(|_| message.starts_with("unknown")) else {
        return String::new();
    };
    nearest(given, quoted).map(|n| format!("\ndid you mean `{n}`?")).unwrap_or_default()
}

/// The nearest of `names` to what was given, when it is near enough to be meant.
pub fn nearest<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|n| (strsim::damerau_levenshtein(given, n), n))
        .filter(|(d, n)| *d <= 1 + n.len() / 3)
        .min()
        .map(|(_, n)| n)
}

fn check(s: &Scenario) -> Result<(), String> {
    for id in s.decides.iter().chain(s.hazard.iter().flat_map(|h| &h.shows)) {
        if !CHECKERS.iter().any(|c| c.id == id) {
            let near = nearest(id, CHECKERS.iter().map(|c| c.id));
            let near = near.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
            return Err(format!(
                "`decides`, or `shows`, names no checker: `{id}`{near} (`gauntlet list` shows them)"
            ));
        }
    }
    within("workload.messages", s.workload.messages, 1, 1_000_000)?;
    within("workload.backlog", s.workload.backlog, 0, s.workload.messages)?;
    within("workload.body", s.workload.body, 0, 1 << 20)?;
    if let Some(rate) = s.workload.rate
        && !(0.1..=1e6).contains(&rate)
    {
        return Err(format!("`workload.rate` is {rate}: 0.1 to 1000000 messages per second"));
    }
    within("subject.workers", s.subject.workers.into(), 1, 100)?;
    within("subject.copies", s.subject.copies.into(), 1, 50)?;
    within("subject.prefetch", s.subject.prefetch.into(), 1, 65_535)?;
    for pattern in &s.expect.sees {
        if !(pattern.starts_with("> ") || pattern.starts_with("< ")) {
            return Err(format!(
                "`expect.sees` has `{pattern}`: write `> METHOD` (to the broker) or `< METHOD [CODE]`"
            ));
        }
    }
    for (i, step) in s.steps.iter().enumerate() {
        check_step(s, step).map_err(|e| format!("step {} {e}", i + 1))?;
    }
    Ok(())
}

fn within(key: &str, value: u32, low: u32, high: u32) -> Result<(), String> {
    if (low..=high).contains(&value) {
        Ok(())
    } else {
        Err(format!("`{key}` is {value}: {low} to {high}"))
    }
}

fn check_step(s: &Scenario, step: &Step) -> Result<(), String> {
    let given = [step.fault.is_some(), step.broker.is_some(), step.subject.is_some()];
    if given.iter().filter(|g| **g).count() != 1 {
        return Err("needs exactly one of `fault`, `broker` and `subject`".into());
    }
    if let Some(fault) = &step.broker {
        check_broker_step(s, step, fault)?;
    }
    if step.fault.is_none() && step.connections.is_some() {
        return Err("has `connections`: that goes with `fault` only".into());
    }
    let stands = step.broker.as_ref().is_some_and(|f| f.about().lasts);
    if step.resets && step.fault.is_none() && !stands {
        return Err("has `resets`: that goes with what stays in force".into());
    }
    if let Some(fault) = step.subject {
        check_subject_step(step, fault)?;
    }
    within("repeat", step.repeat, 1, 10_000)?;
    let messages = s.workload.messages;
    match step.when {
        Trigger::Handled(n) => within("when.handled", n, 0, messages - 1),
        Trigger::HandledBetween { from, to } if from >= to => Err(format!(
            "has `when.handled_between` from {from} to {to}: `from` must be below `to`"
        )),
        Trigger::HandledBetween { to, .. } => within("when.handled_between.to", to, 1, messages),
        _ => Ok(()),
    }
}

fn check_subject_step(step: &Step, fault: SubjectFault) -> Result<(), String> {
    let by_frame = matches!(step.when, Trigger::Frame { .. });
    if step.when == Trigger::Start || by_frame && fault != SubjectFault::Kill {
        return Err(
            "has a `frame` trigger or `when = \"start\"`: of these, `subject` has the `frame` trigger of \"kill\" only"
                .into(),
        );
    }
    if step.lasts.is_some() && fault != SubjectFault::Pause {
        return Err("has `lasts`: with `subject`, that goes with \"pause\" only".into());
    }
    Ok(())
}

fn check_broker_step(s: &Scenario, step: &Step, fault: &BrokerFault) -> Result<(), String> {
    fault.check()?;
    let About { name, needs, lasts, at_frame, .. } = fault.about();
    if *needs == Needs::Control && !s.own_broker {
        return Err(format!(
            "has `{name}`, which concerns the whole broker: the scenario needs `own_broker = true`"
        ));
    }
    if step.lasts.is_some() && !lasts {
        return Err(format!("has `lasts`: `{name}` is over at once"));
    }
    if step.lasts.is_some() && matches!(fault, BrokerFault::Withhold { count: Some(_), .. }) {
        return Err("has `lasts` and `withhold.count`: give one of them".into());
    }
    if matches!(step.when, Trigger::Frame { .. }) && !at_frame {
        return Err(format!("has a `frame` trigger: `{name}` cannot be anchored to one"));
    }
    let before = matches!(fault, BrokerFault::ConsumerTimeout(_));
    let standing = *needs == Needs::Model && *lasts;
    match step.when == Trigger::Start {
        true if !before && !standing => {
            Err(format!("has `when = \"start\"`: `{name}` needs a subject that runs"))
        }
        false if before => {
            Err(format!("has `{name}`, which concerns new channels: write `when = \"start\"`"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const HEAD: &str = "# A story.\n# Two lines.\ntitle = \"t\"\ndecides = [\"I1\"]\n";

    #[test]
    fn the_comment_on_top_is_the_story() {
        let s = parse("x", HEAD).expect("valid");
        assert_eq!((s.name.as_str(), s.story.as_str()), ("x", "A story.\nTwo lines."));
    }

    #[rstest]
    #[case("titel = \"x\"", "did you mean `title`?")]
    #[case("[workload]\nmesages = 3", "did you mean `messages`?")]
    #[case("[workload]\nbacklog = 301", "`workload.backlog` is 301: 0 to 300")]
    #[case("[workload]\nmessages = 0", "`workload.messages` is 0: 1 to 1000000")]
    #[case("[workload]\nrate = 0.0", "`workload.rate` is 0")]
    #[case("[expect]\nrecovers_within = \"5 parsecs\"", "bad duration `5 parsecs`")]
    #[case("[expect]\nsees = [\"basic.cancel\"]", "`expect.sees` has `basic.cancel`")]
    #[case("[[step]]\nwhen = \"idle\"", "step 1 needs exactly one of")]
    #[case("[[step]]\nwhen = \"idel\"\nbroker = \"kill\"", "did you mean `idle`?")]
    #[case(
        "own_broker = true\n[[step]]\nwhen = { handled = 300 }\nbroker = \"kill\"",
        "`when.handled` is 300: 0 to 299"
    )]
    #[case("[[step]]\nwhen = \"idle\"\nbroker = \"kill\"", "`own_broker = true`")]
    #[case(
        "own_broker = true\n[[step]]\nwhen = \"idle\"\nbroker = \"kill\"\nlasts = \"1s\"",
        "`lasts`: `kill` is over at once"
    )]
    #[case(
        "[[step]]\nwhen = \"idle\"\nbroker = { withhold = { reply = \"basic.consume-okay\" } }",
        "\"basic.consume-okay\""
    )]
    #[case(
        "[[step]]\nwhen = { frame = { way = \"to_broker\", name = \"basic.ack\", edge = \"before\" } }\nbroker = \"silence\"",
        "`silence` cannot be anchored"
    )]
    #[case(
        "[[step]]\nwhen = \"start\"\nbroker = \"close_connections\"",
        "`close_connections` needs a subject that runs"
    )]
    #[case(
        "own_broker = true\n[[step]]\nwhen = \"idle\"\nbroker = { consumer_timeout = \"1s\" }",
        "write `when = \"start\"`"
    )]
    fn what_is_wrong_is_quoted(#[case] tail: &str, #[case] expect: &str) {
        let text = format!("{HEAD}{tail}\n");
        let error = parse("x", &text).expect_err("must be refused").to_string();
        assert!(error.contains(expect), "{error}");
        assert!(error.contains("scenario `x`"), "{error}");
    }

    #[test]
    fn an_unknown_checker_is_refused() {
        let error =
            parse("x", "title = \"t\"\ndecides = [\"I1x\"]").expect_err("unknown").to_string();
        assert!(error.contains("`I1x`") && error.contains("did you mean `I1`?"), "{error}");
    }
}
