//! Tables behind a command's access: guarded by its footprint, and undone when it fails.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use pssmr_execution::{Access, AccessError, Footprint, FootprintBuilder, Mode, TableId, Tables};

const ACCOUNTS: TableId = TableId(0);
const ORDERS: TableId = TableId(1);

fn tables() -> Arc<Tables> {
    Arc::new(Tables::new(["accounts", "orders"]))
}

fn value(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn footprint(fill: impl FnOnce(&mut FootprintBuilder)) -> Footprint {
    let mut builder = FootprintBuilder::new();
    fill(&mut builder);
    builder.build()
}

/// Access of a command that touches key `k` of accounts in this mode.
fn touching(tables: &Arc<Tables>, mode: Mode) -> Access {
    let mut access = Access::new(tables.clone());
    access.begin(&footprint(|f| f.key(ACCOUNTS, b"k", mode)));
    access
}

fn exclusive(tables: &Arc<Tables>) -> Access {
    let mut access = Access::new(tables.clone());
    access.begin(&Footprint::exclusive());
    access
}

#[test]
fn a_writer_reads_and_writes_its_key_and_no_other() {
    let mut access = touching(&tables(), Mode::Write);
    assert_eq!(access.get(ACCOUNTS, b"k"), Ok(None));
    access.put(ACCOUNTS, b"k", value("1")).unwrap();
    assert_eq!(access.get(ACCOUNTS, b"k"), Ok(Some(value("1"))));
    assert_eq!(access.contains(ACCOUNTS, b"k"), Ok(true));
    assert_eq!(access.remove(ACCOUNTS, b"k"), Ok(Some(value("1"))));
    let undeclared = |table, mode| AccessError::UndeclaredKey { table, mode };
    assert_eq!(access.get(ACCOUNTS, b"l"), Err(undeclared(ACCOUNTS, Mode::Read)));
    assert_eq!(access.put(ACCOUNTS, b"l", value("1")), Err(undeclared(ACCOUNTS, Mode::Write)));
    assert_eq!(access.get(ORDERS, b"k"), Err(undeclared(ORDERS, Mode::Read)));
    access.commit();
}

#[test]
fn a_reader_does_not_write() {
    let mut access = touching(&tables(), Mode::Read);
    assert_eq!(access.get(ACCOUNTS, b"k"), Ok(None));
    assert!(access.put(ACCOUNTS, b"k", value("1")).is_err());
    assert!(access.remove(ACCOUNTS, b"k").is_err());
    assert!(access.add(ACCOUNTS, b"k", 1).is_err());
}

#[test]
fn a_commuting_command_adds_and_neither_reads_nor_writes() {
    let tables = tables();
    let mut access = touching(&tables, Mode::Commute);
    access.add(ACCOUNTS, b"k", 2).unwrap();
    assert!(access.get(ACCOUNTS, b"k").is_err(), "what it read would depend on the order");
    assert!(access.put(ACCOUNTS, b"k", value("1")).is_err(), "the last one would win");
    access.commit();
    assert_eq!(touching(&tables, Mode::Read).get(ACCOUNTS, b"k"), Ok(Some(Bytes::from_static(&[2]))));
}

#[test]
fn iteration_and_length_need_the_whole_table() {
    let tables = tables();
    let access = touching(&tables, Mode::Write);
    let denied = AccessError::UndeclaredTable { table: ACCOUNTS, mode: Mode::Read };
    assert_eq!(access.len(ACCOUNTS), Err(denied));
    assert_eq!(access.snapshot(ACCOUNTS).err(), Some(denied));
    let mut reader = Access::new(tables.clone());
    reader.begin(&footprint(|f| f.table(ACCOUNTS, Mode::Read)));
    assert_eq!(reader.len(ACCOUNTS), Ok(0));
    assert!(reader.clear(ACCOUNTS).is_err());
    assert!(reader.len(ORDERS).is_err());
    reader.begin(&Footprint::read_all());
    assert_eq!(reader.len(ORDERS), Ok(0));
}

#[test]
fn the_ends_of_a_table_and_what_is_there_are_looked_at_only_if_declared() {
    let tables = tables();
    let mut all = exclusive(&tables);
    for key in 0..100u8 {
        all.put(ACCOUNTS, &[key], value("1")).unwrap();
    }
    assert_eq!(all.first(ACCOUNTS).unwrap().map(|(key, _)| key.to_vec()), Some(vec![0]));
    assert_eq!(all.last(ACCOUNTS).unwrap().map(|(key, _)| key.to_vec()), Some(vec![99]));
    all.commit();
    let one = touching(&tables, Mode::Write);
    assert!(one.first(ACCOUNTS).is_err() && one.last(ACCOUNTS).is_err() && one.contains(ACCOUNTS, b"l").is_err());
    assert!(touching(&tables, Mode::Commute).contains(ACCOUNTS, b"k").is_err());
}

#[test]
fn a_command_without_declarations_touches_nothing() {
    let access = Access::new(tables());
    assert!(access.get(ACCOUNTS, b"k").is_err());
}

#[test]
fn an_unguarded_access_may_do_anything() {
    let mut access = Access::unguarded(tables());
    access.put(ACCOUNTS, b"k", value("1")).unwrap();
    access.add(ORDERS, b"n", 3).unwrap();
    assert_eq!(access.get(ORDERS, b"n"), Ok(Some(Bytes::from_static(&[3]))));
    access.clear(ACCOUNTS).unwrap();
    assert_eq!(access.len(ACCOUNTS), Ok(0));
}

#[test]
fn a_rollback_restores_what_was_before() {
    let tables = tables();
    let mut access = exclusive(&tables);
    access.put(ACCOUNTS, b"a", value("1")).unwrap();
    access.put(ACCOUNTS, b"b", value("2")).unwrap();
    access.commit();
    let before = tables.digest();
    access.begin(&Footprint::exclusive());
    access.put(ACCOUNTS, b"a", value("3")).unwrap();
    access.put(ACCOUNTS, b"a", value("4")).unwrap();
    access.remove(ACCOUNTS, b"b").unwrap();
    access.clear(ACCOUNTS).unwrap();
    access.put(ACCOUNTS, b"c", value("5")).unwrap();
    access.put(ORDERS, b"c", value("6")).unwrap();
    assert_ne!(tables.digest(), before);
    access.rollback();
    assert_eq!(tables.digest(), before);
}

#[test]
fn a_rolled_back_addition_leaves_those_of_others() {
    let tables = tables();
    let mut fails = touching(&tables, Mode::Commute);
    let mut succeeds = touching(&tables, Mode::Commute);
    fails.add(ACCOUNTS, b"k", 5).unwrap();
    succeeds.add(ACCOUNTS, b"k", 7).unwrap();
    succeeds.commit();
    fails.rollback();
    fails.begin(&Footprint::nothing());
    fails.commit();
    assert_eq!(touching(&tables, Mode::Read).get(ACCOUNTS, b"k"), Ok(Some(Bytes::from_static(&[7]))));
}

#[test]
fn what_a_transaction_may_do_is_forgotten_by_the_next_command() {
    let tables = tables();
    let whole = footprint(|f| f.key(ACCOUNTS, b"k", Mode::Write));
    let adds = footprint(|f| f.key(ACCOUNTS, b"k", Mode::Commute));
    let mut fails = Access::new(tables.clone());
    fails.begin(&whole);
    fails.begin_operation(&whole);
    fails.commit();
    fails.begin(&adds);
    let mut succeeds = touching(&tables, Mode::Commute);
    fails.add(ACCOUNTS, b"k", 5).unwrap();
    succeeds.add(ACCOUNTS, b"k", 7).unwrap();
    succeeds.commit();
    fails.rollback();
    assert_eq!(touching(&tables, Mode::Read).get(ACCOUNTS, b"k"), Ok(Some(Bytes::from_static(&[7]))));
}

#[test]
fn an_access_that_is_dropped_rolls_back() {
    let tables = tables();
    let before = tables.digest();
    exclusive(&tables).put(ACCOUNTS, b"a", value("1")).unwrap();
    assert_eq!(tables.digest(), before);
}

#[test]
fn only_integers_are_added_to() {
    let tables = tables();
    let mut access = exclusive(&tables);
    access.put(ACCOUNTS, b"k", value("\u{a1}x")).unwrap();
    access.put(ACCOUNTS, b"max", Bytes::from_static(&[0xcf, 0x7f, 255, 255, 255, 255, 255, 255, 255])).unwrap();
    assert_eq!(access.add(ACCOUNTS, b"k", 1), Err(AccessError::NotAnInteger));
    access.add(ACCOUNTS, b"max", 1).unwrap();
    let least = Bytes::from_static(&[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(access.get(ACCOUNTS, b"max"), Ok(Some(least)), "it wraps around");
    access.commit();
    assert_eq!(touching(&tables, Mode::Commute).add(ACCOUNTS, b"k", 1), Err(AccessError::NotAnInteger));
}

#[test]
#[should_panic(expected = "has not ended")]
fn a_command_does_not_begin_before_the_last_one_ended() {
    let mut access = exclusive(&tables());
    access.put(ACCOUNTS, b"a", value("1")).unwrap();
    access.begin(&Footprint::exclusive());
}

#[test]
fn a_snapshot_does_not_see_what_comes_after() {
    let tables = tables();
    let mut access = Access::unguarded(tables.clone());
    access.put(ACCOUNTS, b"a", value("1")).unwrap();
    let snapshot = tables.snapshot(ACCOUNTS);
    access.put(ACCOUNTS, b"a", value("2")).unwrap();
    access.put(ACCOUNTS, b"b", value("3")).unwrap();
    assert_eq!(snapshot.iter().collect::<Vec<_>>(), [(&b"a"[..], &value("1"))]);
    assert_eq!(snapshot.len(), 1);
}

#[test]
fn tables_have_names() {
    let tables = tables();
    assert_eq!((tables.id_of("orders"), tables.id_of("nothing")), (Some(ORDERS), None));
    assert_eq!((tables.name(ACCOUNTS), tables.count()), ("accounts", 2));
}

#[test]
fn the_digest_is_of_the_content_and_not_of_its_history() {
    let (one, other) = (tables(), tables());
    let mut access = Access::unguarded(one.clone());
    access.put(ACCOUNTS, b"a", value("1")).unwrap();
    access.put(ACCOUNTS, b"b", value("2")).unwrap();
    let mut access = Access::unguarded(other.clone());
    for (key, text) in [(b"x", "0"), (b"b", "2"), (b"a", "0"), (b"a", "1")] {
        access.put(ACCOUNTS, key, value(text)).unwrap();
    }
    access.remove(ACCOUNTS, b"x").unwrap();
    assert_eq!(one.digest(), other.digest());
}

#[test]
fn every_part_of_the_content_is_in_the_digest() {
    // Of these two only the lengths say where the key ends.
    let long_key = [&b"a"[..], &9u64.to_le_bytes()].concat();
    let long_value = "\u{1}\0\0\0\0\0\0\0z";
    let digest = |names: [&str; 2], entries: &[(TableId, &[u8], &'static str)]| {
        let tables = Arc::new(Tables::new(names));
        let mut access = Access::unguarded(tables.clone());
        for (table, key, text) in entries {
            access.put(*table, key, value(text)).unwrap();
        }
        tables.digest()
    };
    let names = ["accounts", "orders"];
    let digests = [
        digest(names, &[]),
        digest(["accounts", "order"], &[]),
        digest(names, &[(ACCOUNTS, b"a", "bc")]),
        digest(names, &[(ACCOUNTS, b"ab", "c")]),
        digest(names, &[(ORDERS, b"a", "bc")]),
        digest(names, &[(ACCOUNTS, b"a", "bc"), (ACCOUNTS, b"b", "")]),
        digest(names, &[(ACCOUNTS, b"a", long_value)]),
        digest(names, &[(ACCOUNTS, &long_key, "z")]),
    ];
    let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
    assert_eq!(distinct.len(), digests.len());
}

fn small_key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0..4u8, 0..3)
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![Just(Bound::Unbounded), small_key().prop_map(Bound::Included), small_key().prop_map(Bound::Excluded),]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn a_table_is_a_sorted_map(
        changes in prop::collection::vec((small_key(), prop::option::weighted(0.8, any::<u8>())), 0..60),
        from in bound(),
        to in bound(),
    ) {
        let tables = tables();
        let mut access = Access::unguarded(tables.clone());
        let mut model = BTreeMap::new();
        for (key, change) in changes {
            if let Some(byte) = change {
                access.put(ACCOUNTS, &key, Bytes::copy_from_slice(&[byte])).unwrap();
                model.insert(key, Bytes::copy_from_slice(&[byte]));
            } else {
                prop_assert_eq!(access.remove(ACCOUNTS, &key).unwrap(), model.remove(&key));
            }
        }
        let snapshot = tables.snapshot(ACCOUNTS);
        let content: Vec<_> = snapshot.iter().collect();
        prop_assert_eq!(content, model.iter().map(|(key, value)| (&key[..], value)).collect::<Vec<_>>());
        prop_assert_eq!(access.len(ACCOUNTS).unwrap(), model.len());

        let within = |key: &Vec<u8>| {
            (match &from {
                Bound::Included(from) => key >= from,
                Bound::Excluded(from) => key > from,
                Bound::Unbounded => true,
            }) && (match &to {
                Bound::Included(to) => key <= to,
                Bound::Excluded(to) => key < to,
                Bound::Unbounded => true,
            })
        };
        let slice = |bound| Bound::map(bound, Vec::as_slice);
        let range = snapshot.range(slice(from.as_ref()), slice(to.as_ref()));
        let range: Vec<_> = range.map(|(key, _)| key.to_vec()).collect();
        prop_assert_eq!(range, model.keys().filter(|key| within(key)).cloned().collect::<Vec<_>>());
    }

    #[test]
    fn any_command_is_rolled_back_wholly(
        before in prop::collection::vec((small_key(), any::<u8>()), 0..20),
        changes in prop::collection::vec((small_key(), 0..4u8), 0..30),
    ) {
        let tables = tables();
        let mut access = Access::unguarded(tables.clone());
        for (key, byte) in before {
            access.put(ACCOUNTS, &key, Bytes::copy_from_slice(&[byte & 0x7f])).unwrap();
        }
        let digest = tables.digest();
        access.begin(&Footprint::exclusive());
        for (key, change) in changes {
            match change {
                0 => access.put(ACCOUNTS, &key, Bytes::from_static(&[1])).unwrap(),
                1 => drop(access.remove(ACCOUNTS, &key).unwrap()),
                2 => access.add(ACCOUNTS, &key, 1).unwrap(),
                _ => access.clear(ACCOUNTS).unwrap(),
            }
        }
        access.rollback();
        prop_assert_eq!(tables.digest(), digest);
    }
}
