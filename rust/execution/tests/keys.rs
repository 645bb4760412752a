//! Keys: one encoding for each value, in the order of the values.

use std::cmp::Ordering;

use proptest::prelude::*;
use pssmr_execution::key::{KeyError, MAX_KEY_LENGTH, decode, encode};
use pssmr_execution::messagepack::{
    write_array, write_bin, write_bool, write_nil, write_signed, write_str, write_unsigned,
};

/// A value that can be a key. The order of the variants is the order of kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Nil,
    Bool(bool),
    Int(i128),
    Str(String),
    Bytes(Vec<u8>),
    Tuple(Vec<Value>),
}

impl Value {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nil => write_nil(out),
            Self::Bool(value) => write_bool(out, *value),
            Self::Int(value) => match u64::try_from(*value) {
                Ok(value) => write_unsigned(out, value),
                Err(_) => write_signed(out, i64::try_from(*value).unwrap()),
            },
            Self::Str(value) => write_str(out, value),
            Self::Bytes(value) => write_bin(out, value),
            Self::Tuple(elements) => {
                write_array(out, elements.len() as u32);
                for element in elements {
                    element.write(out);
                }
            }
        }
    }

    fn messagepack(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

fn key(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&value.messagepack(), &mut out).unwrap();
    out
}

fn integers() -> impl Strategy<Value = i128> {
    let near_a_power = (0u32..=64, -2i128..=2, any::<bool>())
        .prop_map(|(bits, offset, negative)| ((1i128 << bits) + offset) * if negative { -1 } else { 1 });
    prop_oneof![near_a_power, -300i128..300, any::<i64>().prop_map(i128::from), any::<u64>().prop_map(i128::from)]
        .prop_map(|value| value.clamp(i128::from(i64::MIN), i128::from(u64::MAX)))
}

fn values() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        integers().prop_map(Value::Int),
        "[\u{0}\u{1}aé\u{10ffff}]{0,6}".prop_map(Value::Str),
        prop::collection::vec(prop::sample::select(vec![0u8, 1, 0x61, 0xff]), 0..6).prop_map(Value::Bytes),
    ];
    scalar.prop_recursive(3, 12, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Value::Tuple))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn keys_sort_as_their_values(a in values(), b in values()) {
        prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
    }

    #[test]
    fn a_key_is_decoded_to_the_shortest_form_of_its_value(value in values()) {
        let mut out = Vec::new();
        decode(&key(&value), &mut out).unwrap();
        prop_assert_eq!(out, value.messagepack());
    }

    #[test]
    fn only_what_is_encoded_is_decoded(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
        let mut value = Vec::new();
        if decode(&bytes, &mut value).is_ok() {
            let mut again = Vec::new();
            encode(&value, &mut again).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn almost_keys_are_not_decoded(value in values(), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = key(&value);
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let mut out = Vec::new();
        if decode(&bytes, &mut out).is_ok() {
            let mut again = Vec::new();
            encode(&out, &mut again).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn any_bytes_are_a_key_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut out = Vec::new();
        let _ = encode(&bytes, &mut out);
        prop_assert!(out.len() <= 2 * MAX_KEY_LENGTH);
    }
}

#[test]
fn the_width_of_a_number_does_not_matter() {
    let forms: [&[u8]; 9] = [
        &[0x07],
        &[0xcc, 7],
        &[0xcd, 0, 7],
        &[0xce, 0, 0, 0, 7],
        &[0xcf, 0, 0, 0, 0, 0, 0, 0, 7],
        &[0xd0, 7],
        &[0xd1, 0, 7],
        &[0xd2, 0, 0, 0, 7],
        &[0xd3, 0, 0, 0, 0, 0, 0, 0, 7],
    ];
    for form in forms {
        let mut out = Vec::new();
        encode(form, &mut out).unwrap();
        assert_eq!(out, key(&Value::Int(7)), "{form:02x?}");
    }
    for form in [&[0xff][..], &[0xd0, 0xff], &[0xd1, 0xff, 0xff], &[0xd3, 255, 255, 255, 255, 255, 255, 255, 255]] {
        let mut out = Vec::new();
        encode(form, &mut out).unwrap();
        assert_eq!(out, key(&Value::Int(-1)), "{form:02x?}");
    }
}

#[test]
fn the_encoding_is_as_documented() {
    let cases: [(Value, &[u8]); 9] = [
        (Value::Nil, &[0x01]),
        (Value::Bool(true), &[0x03]),
        (Value::Int(0), &[0x14]),
        (Value::Int(256), &[0x16, 0x01, 0x00]),
        (Value::Int(-1), &[0x13, 0xfe]),
        (Value::Int(-256), &[0x12, 0xfe, 0xff]),
        (Value::Str("a\0".into()), &[0x20, 0x61, 0x00, 0xff, 0x00]),
        (Value::Bytes(vec![0xff]), &[0x21, 0xff, 0x00]),
        (Value::Tuple(vec![Value::Int(1), Value::Nil]), &[0x30, 0x15, 0x01, 0x01, 0x00]),
    ];
    for (value, expected) in cases {
        assert_eq!(key(&value), expected, "{value:?}");
    }
}

#[test]
fn what_cannot_be_a_key_is_refused() {
    let mut deep = vec![0x91; 9];
    deep.push(0xc0);
    let mut long = Vec::new();
    write_str(&mut long, &"x".repeat(MAX_KEY_LENGTH));
    let mut many_zeros = Vec::new();
    write_bin(&mut many_zeros, &[0; MAX_KEY_LENGTH - 8]);
    for (value, error) in [
        (&[0xcb, 0, 0, 0, 0, 0, 0, 0, 0][..], KeyError::Kind),
        (&[0x80], KeyError::Kind),
        (&[0xd4, 1, 1], KeyError::Kind),
        (&deep, KeyError::TooDeep),
        (&long, KeyError::TooLong),
        (&many_zeros, KeyError::TooLong),
    ] {
        assert_eq!(encode(value, &mut Vec::new()), Err(error));
    }
    assert!(matches!(encode(&[0x01, 0x01], &mut Vec::new()), Err(KeyError::Malformed(_))));
}

#[test]
fn a_tuple_sorts_before_the_longer_ones_that_begin_like_it() {
    let short = Value::Tuple(vec![Value::Str("a".into())]);
    let long = Value::Tuple(vec![Value::Str("a".into()), Value::Nil]);
    let other = Value::Tuple(vec![Value::Str("a\0".into())]);
    assert_eq!(key(&short).cmp(&key(&long)), Ordering::Less);
    assert_eq!(key(&long).cmp(&key(&other)), Ordering::Less);
}
