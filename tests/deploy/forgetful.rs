//! `deploy/roll.sh` before real hooks of sidecars that are started anew in the middle, know nobody yet, or have seen that a member did
//! not go; and what a dry run leaves behind.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::hooked::Bed;

/// The member goes, and comes back.
const GO: &str = "touch $F/down.$MEMBER; sleep 1.2; rm $F/down.$MEMBER; sleep 0.8";
/// The first sidecar is started anew.
const FORGET: &str = "touch $F/forget.0; while [ -e $F/forget.0 ]; do sleep 0.05; done";
/// No member leads.
const NOBODY: i32 = 3;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn ends_with(output: &Output, code: i32) -> String {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[test]
fn the_leader_has_its_turn_though_a_sidecar_has_forgotten_the_others() {
    // Before the leader is chosen, and when it has been; of two sidecars one, and the only one.
    for (name, sidecars) in [("one", 1), ("two", 2)] {
        let bed = Bed::new(&format!("chosen-{name}"), sidecars, 2);
        ends_with(&bed.roll("1,2", &format!("{GO}; [ $MEMBER = 2 ] || {{ {FORGET}; }}"), &[]), 0);
        assert_eq!(bed.runs(), "1\n2\n");
        let bed = Bed::new(&format!("drained-{name}"), sidecars, 2);
        ends_with(&bed.roll("1,2", GO, &["--before", &format!("[ $MEMBER = 1 ] || {{ {FORGET}; }}")]), 0);
        assert_eq!(bed.runs(), "1\n2\n");
    }
}

/// The last member stands for all then, and its soak is nobody's but the script's.
#[test]
fn the_words_that_are_said_go_on_where_it_was() {
    let bed = Bed::new("words", 1, 2);
    let command = format!("{GO}; [ $MEMBER = 1 ] || {{ {FORGET}; }}");
    let output = bed.roll("1,2", &command, &["--soak", "1", "--finalize", "exit 7"]);
    let text = ends_with(&output, 4);
    assert!(text.contains("--finalize ended with 7"), "{text}");
    assert!(text.contains("start this again with --generation 3 --done 1,2:"), "{text}");
    let words = ["--soak", "1", "--generation", "3", "--done", "1,2", "--finalize", "touch $F/raised"];
    ends_with(&bed.roll("1,2", &command, &words), 0);
    assert_eq!(bed.runs(), "1\n2\n", "nobody has a second turn");
    assert!(bed.folder().join("raised").exists());
    let last = bed.status()["last_plan"].clone();
    assert_eq!((&last["generation"], &last["phase"]), (&3.into(), &"finalized".into()), "{last}");
}

#[test]
fn a_member_that_fails_leaves_words_that_spare_the_others() {
    let bed = Bed::new("fails", 1, NOBODY);
    let output = bed.roll("1,2", &format!("{GO}; [ $MEMBER = 1 ]"), &[]);
    let text = ends_with(&output, 4);
    assert!(text.contains("start this again with --generation 2 --done 1:"), "{text}");
    ends_with(&bed.roll("1,2", GO, &["--generation", "2", "--done", "1"]), 0);
    assert_eq!(bed.runs(), "1\n2\n2\n");
}

#[test]
fn nobody_stands_for_a_member_that_did_not_go() {
    // The leader waits for it.
    let bed = Bed::new("stayed-first", 1, 2);
    let text = ends_with(&bed.roll("1,2", &format!("[ $MEMBER = 1 ] || {{ {GO}; }}"), &[]), 4);
    assert!(text.contains("no sidecar saw 1 go down"), "{text}");
    assert!(text.contains("start this again with the same words:"), "{text}");
    assert_eq!(bed.runs(), "1\n");
    // And the end. Where a sidecar was started anew the other one knows still.
    let bed = Bed::new("stayed-last", 2, NOBODY);
    let command = format!("if [ $MEMBER = 1 ]; then {GO}; else {FORGET}; fi");
    let finalize = ["--finalize", "touch $F/raised"];
    let text = ends_with(&bed.roll("1,2", &command, &finalize), 4);
    assert!(text.contains("no sidecar saw 2 go down"), "{text}");
    assert!(text.contains("start this again with --generation 2 --done 1:"), "{text}");
    assert!(!bed.folder().join("raised").exists());
    // Who knows better says so.
    let known = ["--generation", "2", "--done", "1,2"];
    ends_with(&bed.roll("1,2", &command, &[&known[..], &finalize[..]].concat()), 0);
    assert_eq!(bed.runs(), "1\n2\n");
    assert!(bed.folder().join("raised").exists());
}

#[test]
fn who_is_not_known_yet_is_waited_for() {
    // A sidecar that is started while a member is away hears of it when that is back.
    let bed = Bed::new("away", 1, NOBODY);
    let back = "(sleep 2; rm $F/down.$MEMBER) >/dev/null 2>&1 &";
    let text = ends_with(&bed.roll("1,2", &format!("touch $F/down.$MEMBER; {FORGET}; {back}"), &[]), 0);
    assert!(text.contains("1 is not back") && text.contains("no member of that id"), "{text}");
    assert_eq!(bed.runs(), "1\n2\n");
    // And one that is just started knows nobody.
    let bed = Bed::new("blind", 1, NOBODY);
    let blind = bed.folder().join("blind");
    fs::write(&blind, "").unwrap();
    let script = bed.script("1,2", GO, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    bed.planned();
    std::thread::sleep(Duration::from_millis(500));
    fs::remove_file(&blind).unwrap();
    ends_with(&script.wait_with_output().unwrap(), 0);
    assert_eq!(bed.runs(), "1\n2\n");
    // Nobody is restarted where a name is wrong.
    let bed = Bed::new("wrong", 1, NOBODY);
    let text = ends_with(&bed.roll("1,33", GO, &[]), 1);
    assert!(text.contains("no sidecar knows a member 33"), "{text}");
    assert_eq!(bed.runs(), "");
}

#[test]
fn a_dry_run_is_in_nobodys_way_however_it_ends() {
    let bed = Bed::new("dry", 1, 2);
    let text = ends_with(&bed.roll("1,2", GO, &["--dry-run"]), 0);
    assert!(text.contains("1: may be drained") && text.contains("2: waits: "), "{text}");
    let text = ends_with(&bed.roll("1,33", GO, &["--dry-run"]), 1);
    assert!(text.contains("no sidecar knows a member 33"), "{text}");
    // Its plan is taken back long before its time would end, and nothing of it is left.
    for key in ["plan", "last_plan"] {
        assert_eq!(bed.status()[key], serde_json::Value::Null, "{key}");
    }

    let blind = bed.folder().join("blind");
    let forget = bed.folder().join("forget.0");
    for signal in ["-TERM", "-KILL"] {
        // It waits: nobody is known.
        fs::write(&blind, "").unwrap();
        fs::write(&forget, "").unwrap();
        while forget.exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut script = bed.script("1,2", GO, &["--dry-run"]).spawn().unwrap();
        let plan = bed.planned();
        assert_eq!((&plan["generation"], &plan["ttl_s"]), (&0.into(), &120.into()), "{plan}");
        assert!(Command::new("kill").args([signal, &script.id().to_string()]).status().unwrap().success());
        let ended = script.wait().unwrap();
        if signal == "-TERM" {
            assert_eq!(ended.code(), Some(143));
            assert_eq!(bed.status()["plan"], serde_json::Value::Null);
        } else {
            assert!(!bed.status()["plan"].is_null(), "nobody took it back");
        }
        fs::remove_file(&blind).unwrap();
    }
    ends_with(&bed.roll("1,2", GO, &[]), 0);
    assert_eq!(bed.runs(), "1\n2\n");
}

#[test]
fn a_dry_run_does_not_replace_the_plan_that_lives() {
    let bed = Bed::new("lives", 1, NOBODY);
    ends_with(&bed.roll("1,2", "exit 1", &[]), 4);
    let text = ends_with(&bed.roll("1,2", GO, &["--dry-run", "--generation", "5"]), 1);
    assert!(text.contains("plan p of generation 1 lives"), "{text}");
    let plan = bed.status()["plan"].clone();
    assert_eq!((&plan["plan_id"], &plan["generation"]), (&"p".into(), &1.into()), "{plan}");
}
