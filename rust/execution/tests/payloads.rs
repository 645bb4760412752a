//! From payloads to footprints: what is declared is found, what is malformed is refused, nothing panics.

use bytes::Bytes;
use proptest::prelude::*;
use pssmr_execution::declaration::DeclarationProblem;
use pssmr_execution::extract::ELEMENT_KEYS_MAX;
use pssmr_execution::{
    ArgumentSpec, CommandSpec, CommandTable, Extraction, Footprint, FootprintBuilder, KeyDeclaration, Mode, Refusal,
    ScopeDeclaration, Step, TableId, arguments_of, payload,
};

const ACCOUNTS: TableId = TableId(0);
const ORDERS: TableId = TableId(1);

fn argument(name: &str) -> ArgumentSpec {
    ArgumentSpec { name: name.into(), default: None }
}

fn optional(name: &str, default: &'static [u8]) -> ArgumentSpec {
    ArgumentSpec { name: name.into(), default: Some(Bytes::from_static(default)) }
}

fn key(argument: usize, table: TableId, mode: Mode) -> KeyDeclaration {
    KeyDeclaration { argument, path: Vec::new(), table, mode }
}

fn command(name: &str, arguments: Vec<ArgumentSpec>, keys: Vec<KeyDeclaration>) -> CommandSpec {
    CommandSpec { name: name.into(), arguments, keys, ..CommandSpec::default() }
}

fn table() -> CommandTable {
    let path = vec![Step::Field("lines".into()), Step::Index(1), Step::Field("item".into())];
    CommandTable::new(vec![
        command(
            "transfer",
            vec![argument("source"), argument("target"), argument("amount")],
            vec![key(0, ACCOUNTS, Mode::Write), key(1, ACCOUNTS, Mode::Write)],
        ),
        command(
            "order",
            vec![argument("order")],
            vec![KeyDeclaration { argument: 0, path, table: ORDERS, mode: Mode::Write }],
        ),
        command("ping", vec![optional("whom", b"\xa3ann")], vec![key(0, ACCOUNTS, Mode::Commute)]),
        command("undeclared", vec![], vec![]),
        CommandSpec { query: true, ..command("undeclared_query", vec![], vec![]) },
        CommandSpec { scopes: vec![ScopeDeclaration::Nothing], ..command("nothing", vec![], vec![]) },
        CommandSpec {
            scopes: vec![ScopeDeclaration::Table(ACCOUNTS, Mode::Read), ScopeDeclaration::Table(ORDERS, Mode::Write)],
            ..command("sweep", vec![], vec![])
        },
        CommandSpec { callable: true, ..command("computed", vec![argument("x")], vec![key(0, ORDERS, Mode::Read)]) },
        command(
            "close",
            vec![argument("names")],
            vec![KeyDeclaration { argument: 0, path: vec![Step::Each], table: ACCOUNTS, mode: Mode::Write }],
        ),
        command("move", vec![argument("number")], vec![key(0, ORDERS, Mode::Write), key(0, ACCOUNTS, Mode::Read)]),
    ])
    .unwrap()
}

#[test]
fn each_element_of_an_array_is_a_key() {
    let names = |names: &[&[u8]]| [&[0x90 | names.len() as u8][..], &names.concat()].concat();
    let (_, found) = extract(&payload("close", &[&names(&[&text("ann"), &text("bob")])])).unwrap();
    let expected = footprint(|f| {
        f.key_value(ACCOUNTS, &text("ann"), Mode::Write).unwrap();
        f.key_value(ACCOUNTS, &text("bob"), Mode::Write).unwrap();
    });
    assert_eq!(found, expected);
    assert_eq!(extract(&payload("close", &[&names(&[])])).unwrap().1, Footprint::nothing());
    let too_many = [&[0xdd][..], &(ELEMENT_KEYS_MAX + 1).to_be_bytes(), &vec![0x01; ELEMENT_KEYS_MAX as usize + 1]];
    for (names, problem) in [
        (&too_many.concat()[..], "too many keys"),
        (b"\xa3ann", "not of the declared structure"),
        (b"\x91\xcb\0\0\0\0\0\0\0\0", "not a value that can be a key"),
    ] {
        assert_eq!(extract(&payload("close", &[names])).unwrap_err(), Refusal::Key { argument: 0, problem });
    }
}

#[test]
fn a_way_to_a_key_does_not_go_on_after_each_element() {
    let path = vec![Step::Each, Step::Index(0)];
    let key = KeyDeclaration { argument: 0, path, table: ACCOUNTS, mode: Mode::Write };
    let error = CommandTable::new(vec![command("close", vec![argument("names")], vec![key])]).unwrap_err();
    assert_eq!(error.problem, DeclarationProblem::StepsAfterEach(0));
}

fn extract(payload: &[u8]) -> Result<(Extraction, Footprint), Refusal> {
    let mut builder = FootprintBuilder::new();
    let extraction = table().extract(payload, &mut builder)?;
    Ok((extraction, builder.build()))
}

fn footprint(fill: impl FnOnce(&mut FootprintBuilder)) -> Footprint {
    let mut builder = FootprintBuilder::new();
    fill(&mut builder);
    builder.build()
}

/// A string of up to 31 bytes.
fn text(value: &str) -> Vec<u8> {
    let mut out = vec![0xa0 | value.len() as u8];
    out.extend_from_slice(value.as_bytes());
    out
}

#[test]
fn declared_arguments_are_keys() {
    let (extraction, found) = extract(&payload("transfer", &[&text("ann"), &text("bob"), &[5]])).unwrap();
    assert_eq!(extraction, Extraction { handler: 0, deferred: false });
    let expected = footprint(|f| {
        f.key_value(ACCOUNTS, &text("ann"), Mode::Write).unwrap();
        f.key_value(ACCOUNTS, &text("bob"), Mode::Write).unwrap();
    });
    assert_eq!(found, expected);
}

#[test]
fn an_argument_can_be_a_key_of_two_tables() {
    let (_, found) = extract(&payload("move", &[&[7]])).unwrap();
    let expected = footprint(|f| {
        f.key_value(ORDERS, &[7], Mode::Write).unwrap();
        f.key_value(ACCOUNTS, &[7], Mode::Read).unwrap();
    });
    assert_eq!(found, expected);
}

#[test]
fn what_is_no_value_is_malformed_rather_than_no_key() {
    let no_key = Refusal::Key { argument: 0, problem: "not a value that can be a key" };
    let malformed = Refusal::Malformed("an invalid type byte");
    for (value, refusal) in [
        (&[0x81, 0x01, 0x02][..], &no_key),
        (&[0x81, 0x01, 0xc1], &malformed),
        (&[0x92, 0x80, 0xc1], &malformed),
        (&[0xca, 0, 0, 0, 0], &no_key),
    ] {
        assert_eq!(extract(&payload("transfer", &[value, &[1], &[1]])).unwrap_err(), *refusal, "{value:?}");
    }
}

#[test]
fn a_key_can_be_a_field_inside_of_an_argument() {
    // {"lines": [nil, {"n": 1, "item": "pen"}], "x": 0}
    let order = [
        &[0x82][..],
        &text("lines"),
        &[0x92, 0xc0, 0x82],
        &text("n"),
        &[0x01],
        &text("item"),
        &text("pen"),
        &text("x"),
        &[0x00],
    ]
    .concat();
    let (_, found) = extract(&payload("order", &[&order])).unwrap();
    assert_eq!(found, footprint(|f| f.key_value(ORDERS, &text("pen"), Mode::Write).unwrap()));
}

#[test]
fn a_field_that_is_there_twice_or_not_at_all_is_refused() {
    let line = [&[0x82][..], &text("item"), &text("pen"), &text("item"), &text("ink")].concat();
    let twice = [&[0x81][..], &text("lines"), &[0x92, 0xc0], &line].concat();
    let missing = [&[0x81][..], &text("lines"), &[0x91, 0xc0]].concat();
    for (order, problem) in [
        (&twice[..], "a field is there twice"),
        (&missing, "a field is missing"),
        (&[0x90], "not of the declared structure"),
        (&[0x80], "a field is missing"),
    ] {
        assert_eq!(extract(&payload("order", &[order])).unwrap_err(), Refusal::Key { argument: 0, problem });
    }
}

#[test]
fn an_argument_left_out_counts_as_its_default() {
    let expected = footprint(|f| f.key_value(ACCOUNTS, &text("ann"), Mode::Commute).unwrap());
    assert_eq!(extract(&payload("ping", &[])).unwrap().1, expected);
    assert_eq!(extract(&payload("ping", &[&text("ann")])).unwrap().1, expected);
    assert_ne!(extract(&payload("ping", &[&text("bob")])).unwrap().1, expected);
}

#[test]
fn what_is_not_declared_may_touch_everything() {
    assert_eq!(extract(&payload("undeclared", &[])).unwrap().1, Footprint::exclusive());
    assert_eq!(extract(&payload("undeclared_query", &[])).unwrap().1, Footprint::read_all());
    assert_eq!(extract(&payload("nothing", &[])).unwrap().1, Footprint::nothing());
    let sweep = footprint(|f| {
        f.table(ACCOUNTS, Mode::Read);
        f.table(ORDERS, Mode::Write);
    });
    assert_eq!(extract(&payload("sweep", &[])).unwrap().1, sweep);
}

#[test]
fn a_computed_footprint_is_deferred_with_what_is_declared() {
    let (extraction, found) = extract(&payload("computed", &[&[7]])).unwrap();
    assert_eq!(extraction, Extraction { handler: 7, deferred: true });
    assert_eq!(found, footprint(|f| f.key_value(ORDERS, &[7], Mode::Read).unwrap()));
}

#[test]
fn the_width_of_a_key_does_not_matter() {
    let wide = extract(&payload("computed", &[&[0xcf, 0, 0, 0, 0, 0, 0, 0, 7]])).unwrap();
    assert_eq!(wide, extract(&payload("computed", &[&[7]])).unwrap());
}

#[test]
fn what_is_malformed_is_refused() {
    let valid = payload("undeclared", &[]);
    let trailing = [&valid[..], &[0xc0]].concat();
    let not_an_array = [&[10][..], b"undeclared", &[0x80]].concat();
    let computed = |argument: &[u8]| [&[8][..], b"computed", &[0x91], argument].concat();
    let deep = computed(&[&[0x91; 33][..], &[0xc0]].concat());
    let huge = computed(&[0xdd, 0xff, 0xff, 0xff, 0xff]);
    for (payload, problem) in [
        (&[][..], "no name"),
        (&[3, b'a'], "the name is cut short"),
        (&valid[..valid.len() - 1], "the value is cut short"),
        (&trailing, "bytes follow the arguments"),
        (&not_an_array, "the arguments are not an array"),
        (&deep, "arrays and maps nest too deep"),
        (&huge, "the value is cut short"),
        (&computed(&[0xc1]), "an invalid type byte"),
        (&computed(&[0xa1, 0xff]), "a string is not UTF-8"),
    ] {
        assert_eq!(extract(payload).unwrap_err(), Refusal::Malformed(problem), "{payload:02x?}");
    }
}

#[test]
fn unknown_commands_and_wrong_arguments_are_refused() {
    assert_eq!(extract(&payload("tranfser", &[])).unwrap_err(), Refusal::UnknownCommand);
    assert_eq!(extract(&[1, 0xff, 0x90]).unwrap_err(), Refusal::UnknownCommand);
    let count = |given| Refusal::ArgumentCount { required: 3, most: 3, given };
    assert_eq!(extract(&payload("transfer", &[&[1], &[2]])).unwrap_err(), count(2));
    assert_eq!(extract(&payload("transfer", &[&[1], &[2], &[3], &[4]])).unwrap_err(), count(4));
    let float = [0xca, 0, 0, 0, 0];
    let problem = "not a value that can be a key";
    assert_eq!(
        extract(&payload("transfer", &[&[1], &float, &[3]])).unwrap_err(),
        Refusal::Key { argument: 1, problem }
    );
}

#[test]
fn arguments_are_found_again_for_the_handler() {
    let payload = payload("transfer", &[&text("ann"), &text("bob"), &[5]]);
    let mut arguments = arguments_of(&payload);
    assert_eq!(arguments.value(), Ok(&text("ann")[..]));
    assert_eq!(arguments.rest(), [&text("bob")[..], &[5]].concat());
    assert_eq!(arguments_of(&[]).rest(), b"");
}

#[test]
fn declarations_that_make_no_sense_are_refused() {
    let query_writes =
        CommandSpec { query: true, ..command("c", vec![argument("x")], vec![key(0, ACCOUNTS, Mode::Commute)]) };
    let both = CommandSpec {
        scopes: vec![ScopeDeclaration::Nothing, ScopeDeclaration::ReadAll],
        ..command("c", vec![], vec![])
    };
    for (commands, problem) in [
        (vec![command("", vec![], vec![])], DeclarationProblem::NameLength),
        (vec![command(&"n".repeat(256), vec![], vec![])], DeclarationProblem::NameLength),
        (vec![command("c", vec![], vec![]), command("c", vec![], vec![])], DeclarationProblem::Duplicate),
        (
            vec![command("c", vec![optional("a", b"\xc0"), argument("b")], vec![])],
            DeclarationProblem::DefaultsNotLast("b".into()),
        ),
        (
            vec![command("c", vec![optional("a", b"\xc0\xc0")], vec![])],
            DeclarationProblem::MalformedDefault("a".into()),
        ),
        (vec![command("c", vec![], vec![key(0, ACCOUNTS, Mode::Read)])], DeclarationProblem::NoSuchArgument(0)),
        (vec![query_writes], DeclarationProblem::QueryWrites),
        (vec![both], DeclarationProblem::NothingAndSomething),
    ] {
        assert_eq!(CommandTable::new(commands).unwrap_err().problem, problem);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn any_bytes_have_a_footprint_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = extract(&bytes);
    }

    #[test]
    fn any_arguments_have_a_footprint_or_are_refused(
        name in prop::sample::select(vec!["transfer", "order", "ping", "undeclared", "computed"]),
        // The bytes that open containers and give lengths, more often than by chance.
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x80..=0xa4u8, 0xc0..=0xdfu8, 0..=4u8], 0..40),
    ) {
        let payload = [&[name.len() as u8][..], name.as_bytes(), &bytes].concat();
        let _ = extract(&payload);
    }

    /// One byte changed in a payload that is accepted: accepted or refused, and the same each time.
    #[test]
    fn a_damaged_payload_is_judged_the_same_each_time(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut damaged = payload("transfer", &[&text("ann"), &text("bob"), &[5]]).to_vec();
        let place = place.index(damaged.len());
        damaged[place] = byte;
        prop_assert_eq!(extract(&damaged), extract(&damaged));
    }
}
