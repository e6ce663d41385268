use super::normalize;

fn check(cases: &[(&str, &str)]) {
    for (text, want) in cases {
        let got = normalize(text).unwrap_or_else(|error| error.state().code().to_owned());
        assert_eq!(got, *want, "{text}");
        if !want.contains("flag \"xq") && want.len() != 5 {
            assert_eq!(normalize(&got).unwrap_or_else(|e| format!("{e} in {got}")), got, "{text} again");
        }
    }
}

#[test]
fn paths_are_shown_as_postgresql_shows_them() {
    check(&[
        ("$", "$"),
        ("strict $", "strict $"),
        ("LAX $.TYPE()", "$.type()"),
        ("$.a.*.**[*]", "$.\"a\".*.**[*]"),
        (
            "$.**{2}.**{2 to 5}.**{last}.**{2 to last}.**{last to 5}",
            "$.**{2}.**{2 to 5}.**{last}.**{2 to last}.**{last to 5}",
        ),
        ("$[1,$.a[0] to last - 1]", "$[1,$.\"a\"[0] to last - 1]"),
        ("$.a + 1 * -2", "($.\"a\" + 1 * -2)"),
        ("($.a + 1) * 2", "(($.\"a\" + 1) * 2)"),
        (
            "$ ? (@.a == 1 || !(@.b > \"x\") && exists(@.c))",
            "$?(@.\"a\" == 1 || !(@.\"b\" > \"x\") && exists (@.\"c\"))",
        ),
        ("$ ? ((@ > 1) is unknown)", "$?((@ > 1) is unknown)"),
        ("$ ? (@ like_regex \"a\" flag \"xq\")", "$?(@ like_regex \"a\" flag \"xq\")"),
        ("$ ? (@ starts with $v)", "$?(@ starts with $\"v\")"),
        ("-1.5.abs()", "(-(1.5).abs())"),
        ("- 1.50", "-1.50"),
        ("1e3", "1000"),
        (".5", "0.5"),
        ("$.\\u0041bc.\"\\x41\\n\"", "$.\"Abc\".\"A\\n\""),
        ("$.\"\\ud83d\\ude04\"", "$.\"😄\""),
        ("$.a /* comment */ . b", "$.\"a\".\"b\""),
        ("$.datetime(\"HH24:MI\")", "$.datetime(\"HH24:MI\")"),
        ("($.a == 1).type()", "($.\"a\" == 1).type()"),
    ]);
}

#[test]
fn what_is_no_path_is_refused() {
    check(&[
        ("", "22P02"),
        (" ", "22P02"),
        ("@ + 1", "42601"),
        ("last", "42601"),
        ("$.", "42601"),
        ("$.a b", "42601"),
        ("1a", "42601"),
        ("00", "42601"),
        ("0755", "42601"),
        ("1e", "42601"),
        ("\"abc", "42601"),
        ("$ ? (@.a)", "42601"),
        ("!$", "42601"),
        ("$ == 1 == 2", "42601"),
        ("TRUE", "42601"),
        ("\\u0000", "22P05"),
        ("$.\"\\ud83d\"", "22P02"),
        ("$ ? (@ like_regex \"(\")", "2201B"),
        ("$ ? (@ like_regex \"a\" flag \"a\")", "42601"),
        ("$ ? (@ like_regex \"a\" flag \"x\")", "0A000"),
    ]);
}

#[test]
fn deep_paths_end() {
    check(&[(&"(".repeat(100_000), "54001"), (&"-".repeat(100_000), "54001")]);
    check(&[(&format!("$ + {}1", "1 + ".repeat(100_000)), "54001"), (&format!("${}", "[0]".repeat(100_000)), "54001")]);
    check(&[(&format!("${}", "?(@".repeat(100_000)), "54001"), (&"$[".repeat(100_000), "54001")]);
}
