//! Groups and what becomes of them, mostly those of the tests of Java's assignors.

use super::*;

/// Topics, members, and what they get.
type Case = (&'static str, &'static [&'static str], &'static [&'static str]);

fn check(assignor: &dyn Assignor, cases: &[Case]) {
    for (topics, lines, expected) in cases {
        let assignments = assignor.assign(&cluster(topics), &members(lines));
        assert_eq!(shown(&assignments), *expected, "{}: {topics} for {lines:?}", assignor.name());
    }
}

/// With one member, or one topic, there is little to choose.
#[test]
fn small_groups_get_the_same_from_all() {
    let cases: &[Case] = &[
        ("", &["a: t"], &[""]),
        ("t:2", &["a:"], &[""]),
        ("other:2", &["a: t"], &[""]),
        ("t:3", &["a: t"], &["t-0 t-1 t-2"]),
        ("t:3 other:3", &["a: t"], &["t-0 t-1 t-2"]),
        ("t:1 u:2", &["a: t u"], &["t-0 u-0 u-1"]),
        ("t:1", &["a: t", "b: t"], &["t-0", ""]),
        ("t:2", &["a: t", "b: t"], &["t-0", "t-1"]),
        ("t:2", &["a: t", "b:"], &["t-0 t-1", ""]),
        ("t:1 u:1", &["a: t", "b: u"], &["t-0", "u-0"]),
    ];
    for assignor in assignors() {
        check(&*assignor, cases);
    }
    assert!(
        assignors()
            .iter()
            .all(|assignor| assignor.assign(&cluster("t:1"), &members(&[])).is_empty())
    );
}

#[test]
fn range() {
    check(
        &RangeAssignor,
        &[
            ("t:3 u:3", &["a: t u", "b: t u"], &["t-0 t-1 u-0 u-1", "t-2 u-2"]),
            ("t:3 u:2", &["a: t", "b: t u", "c: t"], &["t-0", "t-1 u-0 u-1", "t-2"]),
            // Static members come first, in order of instance.
            ("t:3 u:3", &["a#2: t u", "b#1: t u"], &["t-2 u-2", "t-0 t-1 u-0 u-1"]),
            ("t:3 u:3", &["a: t u", "b#x: t u"], &["t-2 u-2", "t-0 t-1 u-0 u-1"]),
        ],
    );
}

#[test]
fn round_robin() {
    check(
        &RoundRobinAssignor,
        &[
            ("t:3 u:3", &["a: t u", "b: t u"], &["t-0 t-2 u-1", "t-1 u-0 u-2"]),
            ("t:3 u:2", &["a: t", "b: t u", "c: t"], &["t-0", "t-1 u-0 u-1", "t-2"]),
            ("t:3 u:3", &["a#2: t u", "b#1: t u"], &["t-1 u-0 u-2", "t-0 t-2 u-1"]),
            ("t:3 u:3", &["a: t u", "b#x: t u"], &["t-1 u-0 u-2", "t-0 t-2 u-1"]),
            // The example of Java's documentation.
            (
                "t0:1 t1:2 t2:3",
                &["a: t0", "b: t0 t1", "c: t0 t1 t2"],
                &["t0-0", "t1-0", "t1-1 t2-0 t2-1 t2-2"],
            ),
        ],
    );
}

/// A restart gives static members new member ids.
#[test]
fn static_members_keep_their_share() {
    let topics = cluster("t:5 u:4");
    for assignor in [&RangeAssignor as &dyn Assignor, &RoundRobinAssignor] {
        let before =
            shown(&assignor.assign(&topics, &members(&["a#1: t u", "b#2: t u", "c#3: t u"])));
        let after =
            shown(&assignor.assign(&topics, &members(&["c#1: t u", "d#2: t u", "b#3: t u"])));
        assert_eq!([&before[0], &before[1], &before[2]], [&after[1], &after[2], &after[0]]);
    }
}

#[test]
fn sticky_from_nothing() {
    let cases: &[Case] = &[
        ("t:3 u:3", &["a: t u", "b: t u"], &["t-0 t-2 u-1", "t-1 u-0 u-2"]),
        ("t:3 u:2", &["a: t", "b: t u", "c: t"], &["t-0 t-2", "u-0 u-1", "t-1"]),
        (
            "t0:1 t1:2 t2:3",
            &["a: t0", "b: t0 t1", "c: t0 t1 t2"],
            &["t0-0", "t1-0 t1-1", "t2-0 t2-1 t2-2"],
        ),
        (
            "t1:6 t2:7 t3:2",
            &["a: t1 t2 t3", "b: t1 t2 t3", "c: t1 t3"],
            &["t1-5 t2-0 t2-2 t2-4 t2-6", "t1-3 t2-1 t2-3 t2-5 t3-0", "t1-0 t1-1 t1-2 t1-4 t3-1"],
        ),
    ];
    for assignor in sticky_ones() {
        check(&*assignor, cases);
    }
}

/// What nobody has to give up is the same in both.
#[test]
fn sticky_keeps() {
    let cases: &[Case] = &[
        // One more for the first that has its share.
        ("t:2 u:3", &["a: t u < t-0 u-1", "b: t u < t-1 u-2"], &["t-0 u-0 u-1", "t-1 u-2"]),
        // All below their share.
        ("t:2 u:3", &["a: t u < t-0", "b: t u < t-1", "c: t u <"], &["t-0 u-1", "t-1 u-2", "u-0"]),
        // One has more than its share, and somebody may.
        ("t:4", &["a: t < t-0 t-1", "b: t < t-2", "c: t <"], &["t-0 t-1", "t-2", "t-3"]),
        // The others have left.
        ("t:3", &["b: t < t-2"], &["t-0 t-1 t-2"]),
        // A topic is gone; another came.
        ("u:3", &["a: u t < t-0 t-1 u-0", "b: u t < t-2 u-1"], &["u-0 u-2", "u-1"]),
        // A topic has fewer partitions, and was made anew.
        ("t:2", &["a: t < t-0 t-7", "b: t < t-1 t-8"], &["t-0", "t-1"]),
        // A later generation overrules, and so does any generation.
        (
            "t:3 u:3",
            &["a 10: t u < t-0 t-2 u-1", "b 9: t u < t-0 t-2 u-1"],
            &["t-0 t-2 u-1", "t-1 u-0 u-2"],
        ),
        (
            "t:3 u:3",
            &["a 10: t u < t-0 t-2 u-1", "b -1: t u < t-0 t-2 u-1"],
            &["t-0 t-2 u-1", "t-1 u-0 u-2"],
        ),
        // What nobody else claims counts in earlier generations too.
        (
            "t:3 u:3 v:3",
            &["a 10: t u v < t-0 u-0 v-0", "b 9: t u v < t-1 u-1 v-1", "c 8: t u v < u-1 v-0 v-2"],
            &["t-0 u-0 v-0", "t-1 u-1 v-1", "t-2 u-2 v-2"],
        ),
        (
            "s:3 t:3 u:3 v:3",
            &[
                "a -1: s t u v <",
                "b 9: s t u v < s-0 u-0 t-0",
                "c 8: s t u v < v-2 u-2 t-1",
                "d 7: s t u v < v-1 s-1 s-2",
            ],
            &["t-2 u-1 v-0", "s-0 t-0 u-0", "t-1 u-2 v-2", "s-1 s-2 v-1"],
        ),
    ];
    for assignor in sticky_ones() {
        check(&*assignor, cases);
    }
}

/// Where partitions change hands: at once, or when their owner has given them up.
#[test]
fn sticky_moves_and_cooperative_waits() {
    let cases: [(_, &[&str], &[&str], &[&str]); 5] = [
        ("t:3", &["a: t < t-0 t-1 t-2", "b: t <"], &["t-0 t-1", "t-2"], &["t-0 t-1", ""]),
        // Claimed by both in one generation: neither is believed.
        (
            "t:3",
            &["a: t < t-0 t-1", "b: t < t-0 t-2", "c: t <"],
            &["t-1", "t-2", "t-0"],
            &["t-1", "t-2", ""],
        ),
        ("t:2", &["a: t < t-0 t-1", "b: t < t-0 t-1"], &["t-0", "t-1"], &["", ""]),
        // What a member does not want any more goes to who does.
        ("t:1 u:2", &["a: t < u-0", "b: t u <"], &["t-0", "u-0 u-1"], &["t-0", "u-1"]),
        // Overruled, and then dealt out: its last owner still has to give it up.
        (
            "t:4",
            &["a 3: t < t-0 t-1 t-2 t-3", "b 2: t < t-0 t-1 t-2"],
            &["t-0 t-1", "t-2 t-3"],
            &["t-0 t-1", ""],
        ),
    ];
    for (topics, lines, sticky, cooperative) in cases {
        let (cluster, members) = (cluster(topics), members(lines));
        assert_eq!(shown(&StickyAssignor::new().assign(&cluster, &members)), sticky, "{lines:?}");
        let assignor = CooperativeStickyAssignor::new();
        assert_eq!(shown(&assignor.assign(&cluster, &members)), cooperative, "{lines:?}");
        check_complete(&cluster, &members, &settle(&assignor, &cluster, &members));
    }
}

#[test]
fn sticky_is_as_even_as_subscriptions_allow() {
    let lines =
        ["a: t1 t2 < t1-0", "b: t1 t2 t3 t4 < t2-0 t3-0", "c: t2 t3 t4 t5 t6 < t4-0 t5-0 t6-0"];
    let (cluster, members) = (cluster("t1:1 t2:1 t3:1 t4:1 t5:1 t6:1"), members(&lines));
    for assignor in sticky_ones() {
        let assignments = settle(&*assignor, &cluster, &members);
        check_complete(&cluster, &members, &assignments);
        check_balanced(&members, &assignments);
    }
}

/// A member that missed some rebalances, in each order of the generations.
#[test]
fn claims_of_three_generations_are_weighed() {
    for generations in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
        let had = ["t-0 t-2", "t-1 t-2 t-3", "t-2 t-4 t-5"];
        let lines: Vec<_> = (0..3)
            .map(|n| format!("{n} {}: t < {}", generations[n], had[n]))
            .chain(["3 2: u < u-0".to_owned()])
            .collect();
        let members = members(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let assignments = StickyAssignor::new().assign(&cluster("t:6 u:1"), &members);
        let counts = check_complete(&cluster("t:6 u:1"), &members, &assignments);
        assert!(counts.into_values().eq([2, 2, 2, 1]));
    }
}

/// As Java's: topics, replicas, racks of brokers, members, and what range and the sticky ones give.
#[test]
fn racks() {
    const ALL: [&str; 3] = ["t1 t2 t3", "t1 t2 t3", "t1 t2 t3"];
    const NOT_ALL: [&str; 3] = ["t1 t2 t3", "t1 t2 t3", "t1 t3"];
    let by_turns =
        ["t1-0 t1-3 t2-0 t2-3 t2-6", "t1-1 t1-4 t2-1 t2-4 t3-0", "t1-2 t1-5 t2-2 t2-5 t3-1"];
    let runs = ["t1-0 t1-1 t2-0 t2-1 t2-2 t3-0", "t1-2 t1-3 t2-3 t2-4 t3-1", "t1-4 t1-5 t2-5 t2-6"];
    #[rustfmt::skip]
    let cases = [
        (ALL, 3, "a b c", runs, by_turns),
        (ALL, 3, "d e f", runs, by_turns),
        (ALL, 1, "a b c", by_turns, by_turns),
        (ALL, 2, "a b c",
            ["t1-0 t1-2 t2-0 t2-2 t2-3 t3-1", "t1-1 t1-3 t2-1 t2-4 t3-0", "t1-4 t1-5 t2-5 t2-6"],
            by_turns),
        (ALL, 3, "a b", runs, by_turns),
        (NOT_ALL, 1, "a b c",
            ["t1-0 t1-3 t2-0 t2-2 t2-3 t2-6", "t1-1 t1-4 t2-1 t2-4 t2-5 t3-0", "t1-2 t1-5 t3-1"],
            ["t1-3 t2-0 t2-2 t2-3 t2-6", "t1-4 t2-1 t2-4 t2-5 t3-0", "t1-0 t1-1 t1-2 t1-5 t3-1"]),
        (NOT_ALL, 2, "a b c",
            ["t1-0 t1-2 t2-0 t2-2 t2-3 t2-5 t3-1", "t1-1 t1-3 t2-1 t2-4 t2-6 t3-0", "t1-4 t1-5"],
            ["t1-3 t2-0 t2-2 t2-5 t2-6", "t1-0 t2-1 t2-3 t2-4 t3-0", "t1-1 t1-2 t1-4 t1-5 t3-1"]),
    ];
    for (wants, replicas, racks, range, sticky) in cases {
        let lines = [0, 1, 2].map(|n| format!("m{n}@{}: {}", ["a", "b", "c"][n], wants[n]));
        let members = members(&lines.each_ref().map(String::as_str));
        let cluster = racked("t1:6 t2:7 t3:2", replicas, racks);
        let case = format!("{wants:?} {replicas} {racks}");
        assert_eq!(shown(&RangeAssignor.assign(&cluster, &members)), range, "{case}");
        for assignor in sticky_ones() {
            let assignments = assignor.assign(&cluster, &members);
            assert_eq!(shown(&assignments), sticky, "{case} {}", assignor.name());
        }
    }
}

/// Topics that are cut alike stay so, even if that is farther to read.
#[test]
fn range_keeps_topics_together_before_it_matches_racks() {
    let lines = ["m0@a: t1 t2 t3", "m1@b: t1 t2 t3", "m2@c: t1 t2 t3"];
    let alike =
        ["t1-0 t1-1 t2-0 t2-1 t3-0 t3-1", "t1-2 t1-3 t2-2 t2-3 t3-2 t3-3", "t1-4 t2-4 t3-4"];
    let cluster = racked("t1:5 t2:5 t3:5", 1, "a b c");
    assert_eq!(shown(&RangeAssignor.assign(&cluster, &members(&lines))), alike);

    let lines = ["m0@a: t1 t2", "m1@b: t1 t2", "m2@b: t3 t4", "m3@a: t3 t4"];
    let near = [
        "t1-0 t1-2 t1-4 t2-0 t2-2 t2-4",
        "t1-1 t1-3 t1-5 t2-1 t2-3 t2-5",
        "t3-1 t4-1",
        "t3-0 t4-0",
    ];
    let cluster = racked("t1:6 t2:6 t3:2 t4:2", 1, "a b");
    assert_eq!(shown(&RangeAssignor.assign(&cluster, &members(&lines))), near);
}

/// What is far from its owner is given to somebody near, even if nobody had to lose anything.
#[test]
fn sticky_moves_to_nearer_members() {
    let lines = [
        "m0@a: t1 t2 t3 < t1-0 t1-1 t1-2 t1-3 t1-4",
        "m1@b: t1 t2 t3 < t1-5 t2-0 t2-1 t2-2 t2-3",
        "m2@c: t1 t2 t3 < t2-4 t2-5 t2-6 t3-0 t3-1",
    ];
    let (cluster, members) = (racked("t1:6 t2:7 t3:2", 1, "a b c"), members(&lines));
    let near = ["t1-0 t1-3 t2-0 t2-3 t2-6", "t1-1 t1-4 t2-1 t2-4 t3-0", "t1-2 t1-5 t2-2 t2-5 t3-1"];
    assert_eq!(shown(&StickyAssignor::new().assign(&cluster, &members)), near);
    let cooperative = CooperativeStickyAssignor::new();
    let first = shown(&cooperative.assign(&cluster, &members));
    assert_eq!(first, ["t1-0 t1-3", "t2-1", "t2-5 t3-1"]);
    assert_eq!(shown(&settle(&cooperative, &cluster, &members)), near);
}

#[test]
fn sticky_user_data_is_what_was_assigned() {
    let (sticky, cooperative) = (StickyAssignor::new(), CooperativeStickyAssignor::new());
    let topics = BTreeSet::from(["t".to_owned()]);
    let told = |assignor: &dyn Assignor| assignor.subscription_user_data(&topics);
    assert_eq!(told(&RangeAssignor), None);
    assert_eq!(told(&sticky), None);
    assert_eq!(told(&cooperative).as_deref(), Some(&[0xff; 4][..]));

    let metadata = ConsumerGroupMetadata {
        group_id: "g".into(),
        generation_id: 7,
        member_id: "m".into(),
        group_instance_id: None,
    };
    let assignment = Assignment::new(partitions("t-3 t-1"));
    sticky.on_assignment(&assignment, &metadata);
    cooperative.on_assignment(&assignment, &metadata);
    let bytes = b"\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\x03\0\0\0\x01\0\0\0\x07";
    assert_eq!(told(&sticky).as_deref(), Some(&bytes[..]));
    assert_eq!(told(&cooperative).as_deref(), Some(&[0, 0, 0, 7][..]));
}

/// Bytes of another assignor, or of nobody's, and of members of before there were generations.
#[test]
fn user_data_is_read_as_far_as_it_goes() {
    let with = |data: &'static [u8]| {
        let mut members = members(&["a: t", "b: t"]);
        let last = members.get_mut("b").expect("b");
        last.user_data = Some(Bytes::from_static(data));
        shown(&StickyAssignor::new().assign(&cluster("t:2"), &members))
    };
    let v0 = b"\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x00";
    assert_eq!(with(v0), ["t-1", "t-0"]);
    assert_eq!(with(&v0[..9]), ["t-0", "t-1"]);
    assert_eq!(with(b"garbage"), ["t-0", "t-1"]);
    assert_eq!(with(b""), ["t-0", "t-1"]);

    // Cooperative members before the third version of the subscription have it in the user data.
    let mut members = members(&["a: t < t-0 t-1", "b: t < t-0"]);
    for (member, generation) in members.values_mut().zip([&[0, 0, 0, 3], &[0, 0, 0, 4]]) {
        (member.generation_id, member.user_data) = (None, Some(Bytes::from_static(generation)));
    }
    let assignments = CooperativeStickyAssignor::new().assign(&cluster("t:2"), &members);
    assert_eq!(shown(&assignments), ["t-1", "t-0"]);
}
