//! Tests of how a scenario is stretched to what a subject promises.

use super::*;
use crate::scenario;

fn resolved(decides: &str, text: &str, promises: &Promises) -> Plan {
    let text = format!("# A tale.\ntitle = \"tale\"\ndecides = [{decides}]\n{text}");
    let scenario = scenario::parse("tale", &text).expect("valid");
    Plan::resolve(&scenario, Seed(1), "tale", promises, "none")
}

fn secs(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

#[test]
fn a_connection_without_an_answer_is_left_without_one_for_longer_than_the_promised_recovery() {
    let text = "[expect]\nrecovers_within = \"3s\"\n[[step]]\nwhen = \"start\"\nfault = { kind = \"ignore\" }\n\
                connections = 1\nlasts = \"4s\"\n";
    let lasts = |promised| {
        let promises = Promises { recovers_within: promised, ..Promises::all() };
        let plan = resolved("", text, &promises);
        (plan.steps[0].lasts.expect("it lasts"), plan.scenario.expect.recovers_within)
    };
    let seconds = |(lasts, bound): (Duration, Duration)| (lasts.as_secs(), bound.as_secs());
    assert_eq!(seconds(lasts(None)), (5, 3));
    assert_eq!(seconds(lasts(secs(1))), (5, 3));
    assert_eq!(seconds(lasts(secs(60))), (62, 60));
}

#[test]
fn a_cable_stays_pulled_until_it_has_to_have_been_noticed_where_that_is_decided() {
    let text = "[subject]\nheartbeat = 4\n[[step]]\nwhen = \"idle\"\nfault = { kind = \"blackhole\" }\nlasts = \"2s\"\n";
    let lasts = |decides, promises: &Promises| {
        resolved(decides, text, promises).steps[0].lasts.map(|lasts| lasts.as_millis())
    };
    let all = Promises::all();
    assert_eq!(lasts("\"I16\"", &all), Some(14_000), "three heartbeats, slack, and a second");
    // A short one is what the file is about: who keeps its connection through it goes on.
    assert_eq!(lasts("\"I12\"", &all), Some(2000));
    let none = Promises { heartbeats: false, ..Promises::all() };
    assert_eq!(lasts("\"I16\"", &none), Some(2000));
    let slow = Promises { notices_within: secs(30), ..Promises::all() };
    assert_eq!(lasts("\"I16\"", &slow), Some(31_000));
}

#[test]
fn where_the_flow_is_forgotten_recovery_begins_with_noticing() {
    let text = "[subject]\nheartbeat = 2\n[expect]\nrecovers_within = \"8s\"\n[[step]]\nwhen = { frame = { way = \"to_client\", \
                name = \"basic.deliver\", edge = \"after\" } }\nfault = { kind = \"blackhole\", resume = false }\n";
    let bound = |notices, recovers| {
        let promises =
            Promises { notices_within: notices, recovers_within: recovers, ..Promises::all() };
        resolved("", text, &promises).scenario.expect.recovers_within.as_millis()
    };
    assert_eq!(bound(None, None), 8000);
    assert_eq!(bound(secs(20), None), 22_000);
    assert_eq!(bound(None, secs(15)), 21_500);
    assert_eq!(bound(secs(20), secs(15)), 35_000);
}

#[test]
fn a_blackhole_resumes_unless_nothing_lifts_it_or_it_says_otherwise() {
    let resumes = |when: &str, more: &str, lasts: &str| {
        let text =
            format!("[[step]]\nwhen = {when}\nfault = {{ kind = \"blackhole\"{more} }}\n{lasts}\n");
        let fault = resolved("", &text, &Promises::all()).steps[0].fault.clone();
        matches!(fault, Some(Fault::Blackhole { resume: true, .. }))
    };
    let frame = "{ frame = { way = \"to_client\", name = \"basic.deliver\", edge = \"after\" } }";
    assert!(resumes("\"idle\"", "", "lasts = \"1s\""));
    assert!(resumes("\"idle\"", "", ""));
    assert!(resumes(frame, "", "lasts = \"1s\""));
    assert!(!resumes(frame, "", ""));
    assert!(resumes(frame, ", resume = true", ""));
    assert!(!resumes("\"idle\"", ", resume = false", "lasts = \"1s\""));
}
