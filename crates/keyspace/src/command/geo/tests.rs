use crate::twin::Twin;

/// The same lines were answered alike by redis-server 7.0.15.
#[test]
fn commands_answer_as_redis_does() {
    for script in include_str!("answers.txt").split("NEW\n") {
        Twin::new().check(script);
    }
}

#[test]
fn places_are_doubles_in_resp3() {
    let mut twin = Twin::new();
    twin.context.resp3 = true;
    twin.check(
        "GEOADD g 13.361389 38.115556 Palermo
        GEOPOS g Palermo => [[,13.361389338970184, ,38.1155563954963]]
        GEOSEARCH g FROMMEMBER Palermo BYRADIUS 1 m WITHDIST => [[\"Palermo\", \"0.0000\"]]",
    );
}

#[test]
fn stores_tell_what_they_did() {
    let mut twin = Twin::new();
    let mut check = |line: &str, want: &str| {
        twin.line(line);
        let events = twin.effects.notifications.iter().filter(|event| event.event != "new");
        let events: Vec<&str> = events.map(|event| event.event).collect();
        assert_eq!(events.join(", "), want, "{line}");
    };
    check("GEOADD g 15 37 a", "zadd");
    check("GEOSEARCHSTORE d g FROMMEMBER a BYRADIUS 1 m", "geosearchstore");
    check("GEORADIUS g 15 37 1 km STORE d", "georadiusstore");
    check("GEORADIUS g 15 37 1 km", "");
    check("GEORADIUS g 25 37 1 km STORE d", "del");
}
