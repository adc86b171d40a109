use std::sync::Arc;

use minicol_mcp::{Cause, Step};
use minicol_pdata::Arrival;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A server with `finished` sessions and then `open` ones, in the order in which it returns them.
#[derive(Default)]
struct Server {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    finished: u64,
    open: u64,
    /// Calls from this one on time out, counted from 0 in this cycle.
    hangs_from: Option<usize>,
    /// The tool is broken altogether.
    broken: bool,
    asked: Vec<u64>,
}

impl Server {
    fn with(finished: u64, open: u64) -> Self {
        let server = Self::default();
        server.set(|state| (state.finished, state.open) = (finished, open));
        server
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }
}

#[async_trait]
impl CallTool for Server {
    async fn call(&self, arguments: Map<String, Value>) -> Result<Answer, Failure> {
        let mut state = self.state.lock().unwrap();
        let limit = arguments["limit"].as_u64().unwrap();
        let failed = |cause| Err(Failure::new("buddy", Step::Call("get_session_analytics".into()), cause));
        state.asked.push(limit);
        if state.hangs_from.is_some_and(|from| state.asked.len() > from) {
            return failed(Cause::TimedOut(Duration::from_secs(10)));
        }
        let total = state.finished + state.open;
        if state.broken || limit.min(total) > state.finished {
            return failed(Cause::Tool("engine_failure".to_owned()));
        }
        let ids = 0..limit.min(total);
        let sessions: Vec<_> = ids.map(|id| json!({"session_id": format!("sess-{id}")})).collect();
        let document = json!({"success": true, "sessions": sessions, "total_analyzed": total});
        Ok(Answer { document, arguments, arrival: Arrival::default(), took: Duration::ZERO })
    }
}

struct Receiver(LargestLimit);

impl Receiver {
    fn new() -> Self {
        Self(LargestLimit::new(Arc::default(), Duration::from_secs(600)))
    }

    /// One cycle: the limit of the answer, and the limits that were asked.
    async fn cycle(&self, server: &Server, configured: u64) -> (Result<u64, Class>, Vec<u64>) {
        server.set(|state| state.asked.clear());
        let arguments = json!({"limit": configured, "sort_by": "duration"}).as_object().cloned().unwrap();
        let answer = self.0.ask("get_session_analytics", arguments, server).await;
        let answer = answer.map(|answer| answer.arguments["limit"].as_u64().unwrap()).map_err(|f| f.class());
        (answer, server.state.lock().unwrap().asked.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn one_open_session_costs_three_questions_and_then_one_a_cycle() {
    let (server, receiver) = (Server::with(24, 1), Receiver::new());
    assert_eq!(receiver.cycle(&server, 500).await, (Ok(24), vec![500, 1, 24]));
    assert_eq!(receiver.cycle(&server, 500).await, (Ok(24), vec![24]));
}

#[tokio::test(start_paused = true)]
async fn what_the_server_can_answer_whole_is_asked_once() {
    let (server, receiver) = (Server::with(25, 0), Receiver::new());
    assert_eq!(receiver.cycle(&server, 500).await, (Ok(500), vec![500]));
    assert_eq!(receiver.cycle(&server, 500).await, (Ok(500), vec![500]));
}

#[tokio::test(start_paused = true)]
async fn it_fails_only_where_not_even_one_session_is_answered() {
    let (server, receiver) = (Server::with(0, 3), Receiver::new());
    assert_eq!(receiver.cycle(&server, 500).await, (Err(Class::Tool), vec![500, 1]));
    assert_eq!(receiver.cycle(&server, 1).await, (Err(Class::Tool), vec![1]));
    server.set(|state| state.finished = 5);
    assert_eq!(receiver.cycle(&server, 500).await, (Ok(5), vec![500, 1, 7, 5, 6]));
}

#[tokio::test(start_paused = true)]
async fn it_tries_upwards_when_the_sessions_change() {
    let (server, receiver) = (Server::with(24, 1), Receiver::new());
    receiver.cycle(&server, 500).await.0.unwrap();
    // One more is open: the total changes, the limit does not.
    server.set(|state| state.open = 2);
    assert_eq!(receiver.cycle(&server, 500).await, (Ok(24), vec![24, 500, 25]));
    // Both have ended, and a third has begun and ended.
    server.set(|state| (state.finished, state.open) = (27, 0));
    assert_eq!(receiver.cycle(&server, 500).await, (Ok(500), vec![24, 500]));
    assert_eq!(receiver.cycle(&server, 500).await, (Ok(500), vec![500]));
}

#[tokio::test(start_paused = true)]
async fn an_ended_session_that_changes_nothing_is_found_after_the_discovery_interval() {
    let (server, receiver) = (Server::with(24, 2), Receiver::new());
    receiver.cycle(&server, 500).await.0.unwrap();
    server.set(|state| (state.finished, state.open) = (25, 1));
    assert_eq!(receiver.cycle(&server, 500).await, (Ok(24), vec![24]));
    tokio::time::advance(Duration::from_secs(600)).await;
    assert_eq!(receiver.cycle(&server, 500).await, (Ok(25), vec![24, 500, 25]));
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_answers_no_more_is_lowered() {
    let (server, receiver) = (Server::with(24, 1), Receiver::new());
    receiver.cycle(&server, 500).await.0.unwrap();
    server.set(|state| (state.finished, state.open) = (10, 15));
    let (answer, _) = receiver.cycle(&server, 500).await;
    assert_eq!(answer, Ok(10));
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_search_tells_nothing_and_is_gone_on_with() {
    let (server, receiver) = (Server::with(100, 28), Receiver::new());
    server.set(|state| state.hangs_from = Some(4));
    assert_eq!(receiver.cycle(&server, 500).await, (Err(Class::Timeout), vec![500, 1, 127, 125, 121]));
    server.set(|state| state.hangs_from = None);
    let (answer, asked) = receiver.cycle(&server, 500).await;
    assert_eq!((answer, asked[..2].to_vec()), (Ok(100), vec![1, 124]));
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_try_upwards_loses_nothing_and_is_not_begun_again_each_cycle() {
    let (server, receiver) = (Server::with(24, 1), Receiver::new());
    receiver.cycle(&server, 500).await.0.unwrap();
    server.set(|state| (state.open, state.hangs_from) = (2, Some(1)));
    assert_eq!(receiver.cycle(&server, 500).await, (Ok(24), vec![24, 500]));
    assert_eq!(receiver.cycle(&server, 500).await, (Ok(24), vec![24]));
}

#[tokio::test(start_paused = true)]
async fn trouble_of_another_kind_is_not_asked_again() {
    let (server, receiver) = (Server::with(24, 1), Receiver::new());
    server.set(|state| state.hangs_from = Some(0));
    assert_eq!(receiver.cycle(&server, 500).await, (Err(Class::Timeout), vec![500]));
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_there_is_nothing_to_lower() {
    struct Plain;
    #[async_trait]
    impl CallTool for Plain {
        async fn call(&self, _: Map<String, Value>) -> Result<Answer, Failure> {
            Err(Failure::new("buddy", Step::Call("x".into()), Cause::Tool("no".to_owned())))
        }
    }
    let receiver = Receiver::new();
    for arguments in [json!({}), json!({"limit": 0}), json!({"limit": "all"})] {
        let answer = receiver.0.ask("x", arguments.as_object().cloned().unwrap(), &Plain).await;
        assert_eq!(answer.unwrap_err().class(), Class::Tool);
    }
}

#[test]
fn only_the_configured_limit_cuts() {
    let cut = |returned, total, limit| Coverage { returned, total }.cut(limit).is_some();
    assert!(cut(500, 501, Some(500)));
    assert!(!cut(24, 25, Some(500)), "lowered by the search");
    assert!(!cut(500, 500, Some(500)));
    assert!(cut(20, 25, None), "the server's own limit");
    assert_eq!(
        Coverage::of(&json!({"sessions": [1, 2], "total_analyzed": 3})),
        Some(Coverage { returned: 2, total: 3 })
    );
    assert_eq!(Coverage::of(&json!({"total_checkpoints": 3})), None);
}

#[tokio::test(start_paused = true)]
async fn a_search_that_the_cycles_end_cuts_is_gone_on_with() {
    /// Takes a second for each call.
    struct Slow<'a>(&'a Server);
    #[async_trait]
    impl CallTool for Slow<'_> {
        async fn call(&self, arguments: Map<String, Value>) -> Result<Answer, Failure> {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.0.call(arguments).await
        }
    }
    let (server, receiver) = (Server::with(100, 28), Receiver::new());
    let slow = Slow(&server);
    let arguments = json!({"limit": 500}).as_object().cloned().unwrap();
    let asking = receiver.0.ask("x", arguments.clone(), &slow);
    assert!(tokio::time::timeout(Duration::from_millis(4500), asking).await.is_err());
    assert_eq!(server.state.lock().unwrap().asked, [500, 1, 127, 125]);
    let answer = receiver.0.ask("x", arguments, &slow).await.unwrap();
    assert_eq!((answer.arguments["limit"].as_u64(), server.state.lock().unwrap().asked[4]), (Some(100), 1));
    assert!(answer.took >= Duration::from_secs(2), "all calls of the cycle: {:?}", answer.took);
}

proptest! {
    /// Whatever the server holds, the largest limit that answers is found, and the number of questions is bounded.
    #[test]
    fn the_largest_limit_is_found_with_few_questions(
        finished in 0_u64..700, open in 0_u64..40, configured in 1_u64..600,
        then_finished in 0_u64..700, then_open in 0_u64..40,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (server, receiver) = (Server::with(finished, open), Receiver::new());
            for (cycle, (finished, open)) in [(finished, open), (then_finished, then_open)].into_iter().enumerate() {
                server.set(|state| (state.finished, state.open) = (finished, open));
                let total = finished + open;
                let largest = if open == 0 || configured <= finished { configured } else { finished };
                let (answer, asked) = receiver.cycle(&server, configured).await;
                let bound = 4 + 2 * usize::try_from(total.min(configured).max(1).ilog2()).unwrap();
                prop_assert!(asked.len() <= bound, "{asked:?}");
                // Sizes that look alike from the remembered limit are found by the look after the discovery interval.
                tokio::time::advance(Duration::from_secs(600)).await;
                let (later, _) = receiver.cycle(&server, configured).await;
                match answer {
                    Err(class) => prop_assert_eq!((class, largest), (Class::Tool, 0)),
                    Ok(limit) if cycle == 0 => prop_assert_eq!(limit, largest),
                    Ok(limit) => prop_assert!(limit.min(total) <= largest.min(total) && limit > 0),
                }
                if largest > 0 {
                    prop_assert_eq!(later.map(|limit| limit.min(total)), Ok(largest.min(total)));
                }
            }
            Ok(())
        })?;
    }
}
