use crate::twin::Twin;

fn check(script: &str) {
    Twin::new().check(script);
}

#[test]
fn smoke() {
    check(
        "ZADD z 1 a 2 b => 2
        ZRANGE z 0 -1 WITHSCORES => <\"a\": ,1, \"b\": ,2>",
    );
}
