//! What a small query costs. Run with optimization: `cargo test --release -p perigee-query cost -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use perigee_types::{SqlType, Value};

use super::Fixture;
use crate::exec::bind::bind;

const ROUNDS: u32 = 2_000;

#[test]
#[ignore = "prints times"]
fn of_a_cached_select() {
    let mut fixture = Fixture::new();
    let columns = [("id", SqlType::Int4), ("name", SqlType::Text), ("price", SqlType::Numeric(Some((15, 2))))];
    let table = fixture.table("items", &columns);
    let row = |i: i32| vec![Value::Int4(i), Value::Text(format!("item {i}")), Value::Numeric(i128::from(i), 2)];
    fixture.insert(&table, (0..1_000).map(row).collect());
    for sql in [
        "SELECT name FROM items WHERE id = $1::int4",
        "SELECT count(*), sum(price) FROM items WHERE id > $1::int4",
        "SELECT a.name FROM items a JOIN items b ON a.id = b.id WHERE b.id = $1::int4",
    ] {
        phases(&fixture, sql);
    }
}

fn phases(fixture: &Fixture, sql: &str) {
    let start = Instant::now();
    let query = fixture.query(sql).unwrap();
    println!("{sql}\n  plan and optimize, once    {:>8.1} us", micros(start.elapsed(), 1));
    let parameters = [Value::Int4(7)];
    let view = fixture.view();
    let timed = |what: &str, mut work: Box<dyn FnMut() + '_>| {
        work();
        let start = Instant::now();
        for _ in 0..ROUNDS {
            work();
        }
        println!("  {what:<26} {:>8.1} us", micros(start.elapsed(), ROUNDS));
    };
    timed("bind", Box::new(|| drop(bind(&query.logical, &parameters, &view.session).unwrap())));
    timed("state", Box::new(|| drop(fixture.runtime.state(1_000, &view, None))));
    let bound = bind(&query.logical, &parameters, &view.session).unwrap();
    let state = fixture.runtime.state(1_000, &view, None);
    let physical = || fixture.block_on(state.query_planner().create_physical_plan(&bound, &state)).unwrap();
    timed("physical plan", Box::new(|| drop(physical())));
    timed(
        "physical plan, execution",
        Box::new(|| {
            let plan = physical();
            fixture.block_on(async {
                let mut batches = execute_stream(plan, state.task_ctx()).unwrap();
                while let Some(batch) = batches.next().await {
                    batch.unwrap();
                }
            });
        }),
    );
    timed("all, on the query threads", Box::new(|| drop(fixture.run_query(&query, &parameters).unwrap())));
}

fn micros(elapsed: Duration, rounds: u32) -> f64 {
    elapsed.as_secs_f64() * 1e6 / f64::from(rounds)
}
