use super::*;

const FULL: &str = include_str!("../../../config/plan.toml");
const SMALL: &str = "plan_id = \"p\"\ncluster = \"orders\"\nprotocol = \"kafka\"\nmembers = [{ id = \"1\" }, { id = \"2\" }]\n\
    command = \"true\"\nsidecars = { list = [\"127.0.0.1:9901\"] }\n";

#[test]
fn the_full_example_is_a_plan_and_has_every_key() {
    let plan = PlanFile::parse(FULL).unwrap();
    assert_eq!(plan.bounds, Bounds::default(), "the example shows the defaults");
    let small = PlanFile::parse(SMALL).unwrap();
    assert_eq!(small.bounds, Bounds::default());
    assert_eq!((small.generation, small.stable_s, small.soak_s, small.ttl_s), (1, 120, 0, 3600));
    assert_eq!((plan.stable_s, plan.soak_s, plan.ttl_s), (120, 0, 3600), "the example shows the defaults");
    // Every key that there is stands in the example, if only as a comment.
    let error = PlanFile::parse(&format!("no_such_key = 1\n{SMALL}")).unwrap_err().join("");
    let keys = error.split_once("expected one of").unwrap().1;
    for key in keys.split('`').skip(1).step_by(2) {
        let stands = |line: &str| {
            let line = line.trim_start_matches("# ");
            line.starts_with(&format!("{key} ="))
                || line.starts_with(&format!("[{key}]"))
                || line.starts_with(&format!("[[{key}]]"))
        };
        assert!(FULL.lines().any(stands), "{key} is not in config/plan.toml");
    }
}

#[test]
fn everything_wrong_is_told_with_its_key() {
    let wrong = |change: &dyn Fn(&mut PlanFile), part: &str| {
        let mut plan = PlanFile::parse(SMALL).unwrap();
        change(&mut plan);
        let found = plan.problems();
        assert!(found.iter().any(|problem| problem.contains(part)), "{part}: {found:?}");
    };
    wrong(&|plan| plan.plan_id = "a b".to_owned(), "plan_id");
    wrong(&|plan| plan.generation = 0, "generation");
    wrong(&|plan| plan.cluster = String::new(), "cluster:");
    for name in ["c\n\"x", "a/b", "..", "a%2fb", "a b"] {
        wrong(&|plan| plan.cluster = name.to_owned(), "cluster:");
    }
    wrong(&|plan| plan.members[0].id = "one".to_owned(), "no node id");
    wrong(&|plan| plan.cluster_size = Some(1), "cluster_size");
    wrong(&|plan| plan.command = " ".to_owned(), "command");
    wrong(&|plan| plan.check = Some(String::new()), "check");
    wrong(&|plan| plan.sidecars.dns = Some("a:1".to_owned()), "one of the two");
    wrong(&|plan| plan.sidecars = Sidecars { dns: Some("a".to_owned()), ..Sidecars::default() }, "NAME:PORT");
    wrong(&|plan| plan.move_leaders = true, "kafka.bootstrap");
    wrong(&|plan| plan.kafka = Some(Brokers { bootstrap: vec!["a".to_owned()], config: None }), "HOST:PORT");
    wrong(&|plan| (plan.protocol, plan.move_leaders) = (Protocol::ZooKeeper, true), "move_leaders");
    wrong(&|plan| plan.bounds.gate_s = 0, "bounds.gate_s");
    wrong(&|plan| plan.bounds.settle_s = 600, "settle_s");
    wrong(&|plan| (plan.raise_features, plan.finalize_command) = (true, Some("x".to_owned())), "not both");
    wrong(&|plan| plan.ttl_s = 1, "ttl_s");
    for text in ["stabel_s = 1\n", "members = 3\n", "[bounds]\ngates = 1\n"] {
        assert!(PlanFile::parse(&format!("{text}{SMALL}")).is_err(), "{text}");
    }
}

#[test]
fn a_rollback_is_the_plan_the_other_way_round() {
    let text = format!("from = \"3.9.2\"\nto = \"4.3.1\"\n{SMALL}");
    let plan = PlanFile::parse(&text).unwrap();
    let members = ["2".to_owned()];
    let order = plan.order(Direction::Back, 7, &members, 0);
    assert_eq!((order.plan_id.as_str(), order.generation, order.size()), ("p-rollback", 7, Some(2)));
    let member = order.member("2").unwrap();
    assert_eq!((member.from.as_deref(), member.to.as_deref()), (Some("4.3.1"), Some("3.9.2")));
    assert!(order.problems().is_empty());
}

#[test]
fn a_fleet_needs_no_word_of_what_is_to_be_done() {
    let text = "cluster = \"orders\"\nprotocol = \"kafka\"\nsidecars = { list = [\"127.0.0.1:9901\"] }\n";
    assert!(PlanFile::parsed(text, PlanFile::problems_of_the_fleet).is_ok());
    let missing = PlanFile::parse(text).unwrap_err().join("\n");
    for key in ["plan_id", "members", "command"] {
        assert!(missing.contains(key), "{key}: {missing}");
    }
    for (of, instead) in [("orders", ""), ("127.0.0.1:9901", "127.0.0.1")] {
        let text = text.replace(of, instead);
        assert_eq!(PlanFile::parsed(&text, PlanFile::problems_of_the_fleet).unwrap_err().len(), 1, "{text}");
    }
    assert!(PlanFile::parsed(&format!("{text}stabel_s = 1\n"), PlanFile::problems_of_the_fleet).is_err());
}
