use crate::twin::Twin;

#[test]
fn replies_are_those_of_redis() {
    Twin::new().check(
        r##"
        PFADD h => 1
        PFADD h => 0
        GET h => "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xff"
        PFCOUNT h => 0
        PFADD h a b c d e f g => 1
        PFADD h a b => 0
        PFCOUNT h => 7
        PFADD h "" => 1
        PFCOUNT h => 8
        OBJECT ENCODING h => "raw"
        PFADD h2 1 2 3 4 5 => 1
        PFCOUNT h h2 => 13
        PFCOUNT h h2 nokey => 13
        PFCOUNT nokey => 0
        PFCOUNT nokey nokey2 => 0
        PFMERGE m h h2 => OK
        PFCOUNT m => 13
        PFMERGE m2 => OK
        PFCOUNT m2 => 0
        PFMERGE m2 nokey => OK
        GET m2 => "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xff"
        PFDEBUG ENCODING m => sparse
        PFDEBUG DECODE m => "Z:495 v:2,1 Z:1150 v:1,1 Z:933 v:1,1 Z:3357 v:2,1 Z:1353 v:1,1 Z:234 v:1,1 Z:850 v:2,1 z:57 v:1,1 Z:2536 v:1,1 Z:1737 v:2,1 Z:2445 v:1,1 Z:213 v:4,1 Z:408 v:1,1 Z:603"
        PFDEBUG ENCODING m2 => sparse
        PFDEBUG DECODE m2 => "Z:16384"
        PFDEBUG TODENSE m2 => 1
        PFDEBUG TODENSE m => 1
        PFDEBUG ENCODING nokey => (error) ERR The specified key does not exist
        PFDEBUG FOO m => (error) ERR Unknown PFDEBUG subcommand 'FOO'
        PFDEBUG => (error) ERR wrong number of arguments for 'pfdebug' command
        PFSELFTEST => OK
        PFCOUNT m h => 13
        SET s foo => OK
        PFADD s 1 => (error) WRONGTYPE Key is not a valid HyperLogLog string value.
        PFCOUNT s => (error) WRONGTYPE Key is not a valid HyperLogLog string value.
        PFCOUNT s h => (error) WRONGTYPE Key is not a valid HyperLogLog string value.
        PFMERGE s h => (error) WRONGTYPE Key is not a valid HyperLogLog string value.
        PFMERGE h s => (error) WRONGTYPE Key is not a valid HyperLogLog string value.
        PFDEBUG ENCODING s => (error) WRONGTYPE Key is not a valid HyperLogLog string value.
        ZADD z 1 a => 1
        PFADD z 1 => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        PFCOUNT z => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        PFMERGE z h => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        PFMERGE h z => (error) WRONGTYPE Operation against a key holding the wrong kind of value
        SET x "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x00" => OK
        PFCOUNT x => (error) INVALIDOBJ Corrupted HLL object detected
        PFADD x 1 => (error) INVALIDOBJ Corrupted HLL object detected
        PFCOUNT x h => (error) INVALIDOBJ Corrupted HLL object detected
        PFMERGE y x => (error) INVALIDOBJ Corrupted HLL object detected
        SET x "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xff\x00" => OK
        PFCOUNT x => (error) INVALIDOBJ Corrupted HLL object detected
        SET x "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x7f" => OK
        PFCOUNT x => 0
        SET x "HYLL\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x00" => OK
        PFCOUNT x => (error) WRONGTYPE Key is not a valid HyperLogLog string value.
        SET x "HYLL\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x00" => OK
        PFCOUNT x => (error) WRONGTYPE Key is not a valid HyperLogLog string value.
        SET x "HYL" => OK
        PFCOUNT x => (error) WRONGTYPE Key is not a valid HyperLogLog string value.
        PFADD q e130401 e154599 e16324 e50497 e40471 => 1
        PFADD q e110654 => 1
        PFADD p e179295 => 1
        PFADD p e170646 e185682 e75242 e67027 e116227 e60802 e52990 e171515 e140403 e169009 e56087 e72828 e155244 e3437 e66831 e138160 e191847 e195238 e185648 e179277 e86763 e135637 e24557 e153322 e156071 e169187 e8582 e94909 e96243 e181219 e30702 e59310 e199975 e7343 e94467 e181463 e89286 e114197 e179746 e13566 => 1
        PFCOUNT p => 41
        PFDEBUG ENCODING p => sparse
        PFADD q e7968 => 1
        PFADD p e17848 e127123 e676 e121537 e69126 => 1
        PFADD p e60350 e34702 e33012 e109895 e143070 => 1
        PFADD p e173782 => 1
        PFADD q e147729 e135677 e164330 e125943 e70818 e66365 e35854 e78395 e8614 e50470 e198722 e117550 e27453 e46160 e151010 e28426 e679 e134628 e42065 e31434 e39842 e155371 e103056 e124176 e127456 e139144 e181996 e141946 e123324 e56462 e168878 e101804 e40461 e120083 e2795 e88542 e109469 e66013 e83718 e34820 => 1
        PFCOUNT q => 47
        PFDEBUG ENCODING q => sparse
        PFADD q e154234 e177887 e95127 e58537 e1404 => 1
        PFADD q e21634 => 1
        PFADD q e168319 => 1
        PFADD p e99720 => 1
        PFADD q e197419 => 1
        PFCOUNT q => 55
        PFDEBUG ENCODING q => sparse
        PFADD p e136388 => 1
        PFADD p e15997 e170325 e132145 e83430 e173869 => 1
        PFADD p e171815 => 1
        PFADD q e26803 => 1
        PFADD q e105214 => 1
        PFCOUNT q => 57
        PFDEBUG ENCODING q => sparse
        PFADD q e67416 e981 e91965 e17901 e43894 e16536 e140882 e117956 e122296 e15504 e57343 e41352 e161164 e101598 e4625 e134088 e104424 e59476 e54745 e23867 e148237 e113370 e43653 e25918 e81367 e22890 e88716 e176608 e115225 e178232 e55122 e171029 e47165 e46138 e29063 e138887 e99220 e51093 e190261 e25757 => 1
        PFADD p e3316 e29826 e135540 e13019 e53659 e108370 e18898 e121991 e81924 e37957 e96937 e162409 e92202 e43717 e120266 e133266 e35784 e97829 e19640 e89404 e178145 e79319 e83979 e172541 e77289 e197221 e23352 e157707 e111114 e25246 e127032 e94702 e114798 e163238 e59961 e101191 e63193 e31400 e52797 e150076 => 1
        PFADD p e101670 e141581 e166467 e104572 e2932 => 1
        PFADD p e26296 e42206 e197418 e143741 e31764 e178692 e155112 e190768 e11294 e110086 e107195 e106599 e20666 e100288 e40990 e53998 e102560 e164911 e23926 e87693 e168148 e51239 e88302 e14911 e71183 e134003 e93747 e107586 e35055 e167412 e184485 e116058 e111973 e75417 e148658 e51694 e116128 e120778 e185421 e18596 => 1
        PFADD q e44797 e145163 e50909 e123607 e143931 => 1
        PFADD q e107582 e19056 e114617 e122510 e130033 => 1
        PFADD q e82146 => 1
        PFADD q e29852 => 1
        PFADD p e80271 => 1
    "##,
    );
}

#[test]
fn estimates_are_near() {
    let mut twin = Twin::new();
    let elements: Vec<String> = (0..20_000).map(|n| format!("element:{n}")).collect();
    for chunk in elements.chunks(500) {
        let args: Vec<&str> = ["PFADD", "h"].into_iter().chain(chunk.iter().map(String::as_str)).collect();
        twin.run(&args);
    }
    let count: i64 = twin.line("PFCOUNT h").parse().unwrap();
    assert!((19_500..20_500).contains(&count), "{count}");
    twin.check("PFDEBUG ENCODING h => dense\nSTRLEN h => 12304");
}
