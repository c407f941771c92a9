//! keepalived's `auth_hmac` trailer.

use super::*;

const KEY: [u8; 32] = {
    let mut key = [0; 32];
    let mut i = 0;
    while i < 32 {
        key[i] = i as u8;
        i += 1;
    }
    key
};
/// The time stamp of the published examples.
const THEN: Duration = Duration::new(0x6800_0000, 500_000_000);

fn settings() -> HmacSettings {
    HmacSettings { keys: vec![(1, Key::new(&KEY).unwrap())], active: 1, window: Duration::from_secs(5), required: true }
}

fn signed_wire(family: Family) -> Wire {
    Wire { family, interval: Duration::from_secs(1), auth: Auth::Hmac(settings()), pseudo_header: false, ..wire() }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The two examples of the format's draft: key 00 to 1f, virtual router 51, priority 200.
fn example(family: Family) -> (Vec<u8>, IpAddr, IpAddr) {
    match family {
        Family::V4 => (
            bytes("3133c80100644402c00002640101000068000000800000001b84bc4e8e43892dc6d98448f8ee2265"),
            ip("198.51.100.10"),
            GROUP_V4.into(),
        ),
        Family::V6 => (
            bytes(concat!(
                "3133c8010064a2e9fe800000000000000000000000000100",
                "010100006800000080000000c8c56146ebfd66ee10ec4d8186461b78"
            )),
            ip("fe80::10"),
            ip("fe80::20"),
        ),
    }
}

fn receiver(family: Family) -> Wire {
    let (_, source, _) = example(family);
    let peers = if family == Family::V4 { Peers::Multicast } else { Peers::Unicast(vec![source]) };
    Wire { peers, ..signed_wire(family) }
}

fn check(codec: &mut Codec, family: Family, payload: &[u8], utc: Duration) -> Result<Advert, PacketError> {
    let (_, source, destination) = example(family);
    codec.decode(&Received { source, destination, ttl: TTL, payload }, utc)
}

#[test]
fn the_published_examples_are_accepted() {
    for family in [Family::V4, Family::V6] {
        let (payload, ..) = example(family);
        let advert = check(&mut Codec::new(receiver(family)), family, &payload, THEN).unwrap();
        assert_eq!((advert.priority, advert.addresses.len()), (200, 1));
    }
}

#[test]
fn the_published_examples_are_what_we_send() {
    for family in [Family::V4, Family::V6] {
        let (expected, source, destination) = example(family);
        let address = if family == Family::V4 { ip("192.0.2.100") } else { ip("fe80::100") };
        let wire = receiver(family);
        let advert = Advert { priority: 200, addresses: Addresses::from_slice(&[address]), ..advert(&wire) };
        let mut sent = Vec::new();
        Codec::new(wire).encode(&advert, source, destination, THEN, &mut sent);
        assert_eq!(sent, expected);
    }
}

#[test]
fn whatever_is_changed_is_noticed() {
    let family = Family::V6;
    let (payload, source, destination) = example(family);
    for at in (0..payload.len()).filter(|at| ![6, 7].contains(at)) {
        let mut changed = payload.clone();
        changed[at] ^= 1;
        changed[6..8].fill(0);
        let sum = checksum::Checksum::default().pseudo_header(source, destination, PROTOCOL, changed.len());
        let sum = sum.add(&changed).finish();
        changed[6..8].copy_from_slice(&sum.to_be_bytes());
        assert!(check(&mut Codec::new(receiver(family)), family, &changed, THEN).is_err(), "byte {at}");
    }
}

#[test]
fn an_advert_from_another_source_is_refused() {
    let (payload, _, destination) = example(Family::V4);
    let received = Received { source: ip("198.51.100.11"), destination, ttl: TTL, payload: &payload };
    let result = Codec::new(receiver(Family::V4)).decode(&received, THEN);
    assert_eq!(result, Err(PacketError::Hmac(HmacError::Mismatch)));
}

#[test]
fn a_recorded_advert_is_not_taken_twice() {
    let (payload, ..) = example(Family::V4);
    let mut codec = Codec::new(receiver(Family::V4));
    assert!(check(&mut codec, Family::V4, &payload, THEN).is_ok());
    assert_eq!(check(&mut codec, Family::V4, &payload, THEN).map_err(|error| error.label()), Err("replay"));
    codec.reconfigure(receiver(Family::V4));
    assert_eq!(check(&mut codec, Family::V4, &payload, THEN).map_err(|error| error.label()), Err("replay"));
}

#[test]
fn a_time_stamp_outside_the_window_is_stale() {
    let (payload, ..) = example(Family::V4);
    for utc in [THEN + Duration::from_secs(6), THEN - Duration::from_secs(6)] {
        let result = check(&mut Codec::new(receiver(Family::V4)), Family::V4, &payload, utc);
        assert_eq!(result.map_err(|error| error.label()), Err("stale"));
    }
    assert!(check(&mut Codec::new(receiver(Family::V4)), Family::V4, &payload, THEN + Duration::from_secs(5)).is_ok());
}

#[test]
fn each_advert_has_a_later_stamp_even_while_the_clock_stands_still() {
    let wire = signed_wire(Family::V4);
    let (mut sender, mut receiver) = (Codec::new(wire.clone()), Codec::new(wire.clone()));
    let mut payload = Vec::new();
    for _ in 0..3 {
        sender.encode(&advert(&wire), source(Family::V4), GROUP_V4.into(), UTC, &mut payload);
        assert!(receiver.decode(&received(Family::V4, &payload), UTC).is_ok());
    }
}

/// Both sides recover from a clock that was far ahead.
#[test]
fn a_clock_that_is_set_back_does_not_silence_the_sender() {
    let wire = signed_wire(Family::V4);
    let (mut sender, mut receiver) = (Codec::new(wire.clone()), Codec::new(wire.clone()));
    let mut payload = Vec::new();
    for utc in [UTC + Duration::from_secs(3600), UTC] {
        sender.encode(&advert(&wire), source(Family::V4), GROUP_V4.into(), utc, &mut payload);
        assert!(receiver.decode(&received(Family::V4, &payload), utc).is_ok());
    }
}

#[test]
fn without_a_trailer_it_is_refused_unless_nodes_are_being_converted() {
    let bare = encoded(&Wire { auth: Auth::None, ..signed_wire(Family::V4) });
    assert_eq!(decode(&signed_wire(Family::V4), &bare), Err(PacketError::Hmac(HmacError::Missing)));
    let lenient = Auth::Hmac(HmacSettings { required: false, ..settings() });
    assert!(decode(&Wire { auth: lenient, ..signed_wire(Family::V4) }, &bare).is_ok());
}

#[test]
fn a_trailer_where_none_is_configured_is_a_wrong_length() {
    let (payload, ..) = example(Family::V4);
    let wire = Wire { auth: Auth::None, ..receiver(Family::V4) };
    let result = check(&mut Codec::new(wire), Family::V4, &payload, THEN);
    assert_eq!(result.map_err(|error| error.label()), Err("length"));
}

#[test]
fn keys_are_replaced_without_a_gap() {
    let new_key = Key::new(&[7; 64]).unwrap();
    let with = |keys: &[(u8, Key)], active| {
        let auth = Auth::Hmac(HmacSettings { keys: keys.to_vec(), active, ..settings() });
        Wire { auth, ..signed_wire(Family::V4) }
    };
    let old_key = (1, Key::new(&KEY).unwrap());
    let both = [old_key.clone(), (2, new_key.clone())];
    let mut receiver = Codec::new(with(&both, 1));
    let mut payload = Vec::new();
    for active in [1, 2] {
        let wire = with(&both, active);
        let later = UTC + Duration::from_secs(active.into());
        Codec::new(wire.clone()).encode(&advert(&wire), source(Family::V4), GROUP_V4.into(), later, &mut payload);
        assert!(receiver.decode(&received(Family::V4, &payload), later).is_ok());
    }
    let unknown = PacketError::Hmac(HmacError::UnknownKey { got: 2 });
    assert_eq!(Codec::new(with(&[old_key], 1)).decode(&received(Family::V4, &payload), UTC), Err(unknown));
}

#[test]
fn keys_have_32_to_64_bytes_and_are_never_shown() {
    assert!(Key::new(&[0; 31]).is_none() && Key::new(&[0; 65]).is_none());
    assert_eq!(format!("{:?}", Key::new(&KEY).unwrap()), "Key(..)");
}
