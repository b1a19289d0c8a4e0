//! One table for each request: what every error code brings about, as seen from outside.

use super::*;
use crate::protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatResponse;

/// What a member does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    GoesOn,
    /// The same again, after a back-off.
    Retries,
    /// Asks where the coordinator is.
    LooksForIt,
    /// With its member id; what it owns is kept, as far as the protocol has it.
    JoinsAgain,
    /// With its member id; what it owned is lost.
    LosesGeneration,
    /// As a new member; what it owned is lost.
    LosesMembership,
    /// Tells the user, and tries again when it polls.
    Fails,
    /// Tells the user, and stays out.
    Ends,
}

use Then::*;

const MOVED: [ErrorCode; 2] = [ErrorCode::NOT_COORDINATOR, ErrorCode::COORDINATOR_NOT_AVAILABLE];

fn classic(code: ErrorCode) -> Then {
    match code {
        ErrorCode::NONE => GoesOn,
        code if MOVED.contains(&code) => LooksForIt,
        ErrorCode::UNKNOWN_MEMBER_ID => LosesMembership,
        ErrorCode::ILLEGAL_GENERATION => LosesGeneration,
        ErrorCode::REBALANCE_IN_PROGRESS => JoinsAgain,
        ErrorCode::FENCED_INSTANCE_ID
        | ErrorCode::INCONSISTENT_GROUP_PROTOCOL
        | ErrorCode::INVALID_SESSION_TIMEOUT
        | ErrorCode::INVALID_GROUP_ID
        | ErrorCode::UNRELEASED_INSTANCE_ID
        | ErrorCode::UNSUPPORTED_VERSION => Ends,
        code if code.is_retriable() => Retries,
        _ => Fails,
    }
}

/// What the user was told and what was sent.
fn seen(bench: &mut Bench) -> (Vec<String>, Option<GroupRequest>) {
    let told = std::iter::from_fn(|| bench.told()).collect();
    (told, bench.sent.pop_front().map(|sent| sent.request))
}

fn check(bench: &mut Bench, code: ErrorCode, then: Then) {
    let (told, request) = seen(bench);
    let is_join =
        |id: &str| matches!(&request, Some(GroupRequest::JoinGroup(join)) if join.member_id == id);
    let quiet = told.is_empty();
    let lost = told == ["lost t-0"];
    let failed = told.last().is_some_and(|told| told.starts_with("failed"));
    let good = match then {
        GoesOn => !failed && !lost,
        Retries => quiet && request.is_none() && bench.wait() <= MS(120) && !bench.sent.is_empty(),
        LooksForIt => quiet && matches!(request, Some(GroupRequest::FindCoordinator(_))),
        JoinsAgain => quiet && is_join("me"),
        LosesGeneration => lost && is_join("me"),
        LosesMembership => lost && is_join(""),
        Fails | Ends => {
            bench.user_polls();
            bench.told();
            let again = bench.group.next_deadline().is_some() || !bench.sent.is_empty();
            failed && request.is_none() && again == (then == Fails)
        }
    };
    assert!(good, "{code} should be {then:?}: told {told:?}, sent {request:?}, {:?}", bench.group);
}

fn all_codes() -> impl Iterator<Item = ErrorCode> {
    ErrorCode::ALL.iter().copied().chain([ErrorCode::new(29_999)])
}

#[test]
fn of_join_group() {
    for code in all_codes() {
        let mut bench = Bench::member_with(config(&[Cooperative]), "t-0");
        bench.group.enforce_rebalance("because");
        bench.run();
        let (sent, _) = bench.join_request();
        bench.answer(
            &sent,
            match code {
                ErrorCode::NONE => joined(2, "me", "leader"),
                code => join_error(code, "given"),
            },
        );
        match code {
            ErrorCode::MEMBER_ID_REQUIRED => {
                let (_, join) = bench.join_request();
                assert_eq!(join.member_id, "given");
            }
            code => check(&mut bench, code, classic(code)),
        }
    }
}

#[test]
fn of_sync_group() {
    for code in all_codes() {
        let mut bench = Bench::member_with(config(&[Cooperative]), "t-0");
        bench.group.enforce_rebalance("because");
        bench.run();
        let (sent, _) = bench.join_request();
        bench.answer(&sent, joined(2, "me", "leader"));
        let (sent, _) = bench.sync_request();
        bench.answer(
            &sent,
            match code {
                ErrorCode::NONE => synced("t-0"),
                code => sync_error(code),
            },
        );
        check(&mut bench, code, classic(code));
    }
}

#[test]
fn of_heartbeats() {
    for code in all_codes() {
        let mut bench = Bench::member_with(config(&[Cooperative]), "t-0");
        bench.wait();
        bench.heartbeat(code);
        check(&mut bench, code, classic(code));
    }
}

/// Whatever the answer, it is gone.
#[test]
fn of_leave_group() {
    for code in all_codes() {
        let mut bench = Bench::member_with(config(&[Cooperative]), "t-0");
        bench.group.leave(LeaveMode::Default, "closed", bench.at);
        bench.tells("revoked t-0");
        let sent = bench.only();
        let answer = LeaveGroupResponse { error_code: code, ..LeaveGroupResponse::default() };
        bench.answer(&sent, GroupResponse::LeaveGroup(answer));
        assert!(bench.group.is_out(), "{code}");
        bench.tells_nothing();
    }
}

#[test]
fn of_consumer_group_heartbeats() {
    for code in all_codes() {
        let mut bench = modern::member_with("t-0");
        bench.wait();
        let sent = bench.only();
        let response = ConsumerGroupHeartbeatResponse {
            error_code: code,
            member_epoch: 1,
            ..ConsumerGroupHeartbeatResponse::default()
        };
        bench.answer(&sent, GroupResponse::ConsumerGroupHeartbeat(response));
        let (told, request) = seen(&mut bench);
        let epoch = match &request {
            Some(GroupRequest::ConsumerGroupHeartbeat(beat)) => Some(beat.member_epoch),
            _ => None,
        };
        let failed = told.last().is_some_and(|told| told.starts_with("failed"));
        match code {
            ErrorCode::NONE => assert!(told.is_empty() && request.is_none()),
            code if MOVED.contains(&code) => {
                assert!(matches!(request, Some(GroupRequest::FindCoordinator(_))), "{code}");
                assert!(told.is_empty());
            }
            ErrorCode::FENCED_MEMBER_EPOCH | ErrorCode::UNKNOWN_MEMBER_ID => {
                assert_eq!((told, epoch), (vec!["lost t-0".to_owned()], Some(0)), "{code}");
            }
            ErrorCode::TOPIC_AUTHORIZATION_FAILED => {
                assert!(failed && told.len() == 1 && request.is_none(), "{told:?}");
                bench.wait();
                assert!(!bench.sent.is_empty(), "it stays a member");
            }
            code if code.is_retriable() => {
                assert!(told.is_empty() && request.is_none(), "{code}");
                assert!(bench.wait() <= MS(120));
                let sent = bench.only();
                let GroupRequest::ConsumerGroupHeartbeat(beat) = sent.request else { panic!() };
                assert!(beat.topic_partitions.is_some(), "everything is said again");
            }
            code => {
                assert!(failed && told[0] == "lost t-0" && request.is_none(), "{code}: {told:?}");
                bench.user_polls();
                let again = !bench.sent.is_empty();
                let tried = matches!(
                    code,
                    ErrorCode::FENCED_INSTANCE_ID
                        | ErrorCode::UNRELEASED_INSTANCE_ID
                        | ErrorCode::INVALID_GROUP_ID
                        | ErrorCode::UNSUPPORTED_ASSIGNOR
                        | ErrorCode::UNSUPPORTED_VERSION
                );
                assert_eq!(again, !tried, "{code}");
            }
        }
    }
}
