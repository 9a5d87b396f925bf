//! The frames that open a session.

use super::super::*;
use bytes::Bytes;
use proptest::prelude::*;

#[test]
fn the_lengths_are_those_of_the_wire() {
    let mut request = ConnectRequest {
        protocol: 0,
        last_zxid: 5,
        timeout: 9000,
        session: 0x1_0000,
        password: Bytes::from_static(&[7; 16]),
        read_only: None,
    };
    assert_eq!(request.encode().len(), 4 + 44);
    assert_eq!(request.encode()[..4], [0, 0, 0, 44]);
    request.read_only = Some(false);
    assert_eq!(request.encode().len(), 4 + 45);
    let mut response = ConnectResponse {
        protocol: 0,
        timeout: 9000,
        session: 1,
        password: Bytes::from_static(&[7; 16]),
        read_only: None,
    };
    assert_eq!(response.encode().len(), 4 + 36);
    response.read_only = Some(true);
    assert_eq!(response.encode().len(), 4 + 37);
    assert!(!response.is_expired());
    response.timeout = 0;
    assert!(response.is_expired());
}

#[test]
fn a_null_password_is_an_empty_one_and_a_cut_frame_is_refused() {
    let null = Writer::record().i32(0).i64(0).i32(4000).i64(0).i32(-1).finish();
    let request = ConnectRequest::decode(&null).unwrap();
    assert_eq!((request.password.len(), request.read_only), (0, None));
    assert_eq!(ConnectRequest::decode(&null[..27]).unwrap_err().fault, Fault::Truncated);
}

proptest! {
    #[test]
    fn both_are_read_as_they_were_written(
        (protocol, zxid, timeout, session) in any::<(i32, i64, i32, i64)>(),
        password in prop::collection::vec(any::<u8>(), 0..20),
        read_only in any::<Option<bool>>(),
    ) {
        let request =
            ConnectRequest { protocol, last_zxid: zxid, timeout, session, password: password.into(), read_only };
        prop_assert_eq!(&ConnectRequest::decode(&request.encode()[4..]).unwrap(), &request);
        let response =
            ConnectResponse { protocol, timeout, session, password: request.password.clone(), read_only };
        prop_assert_eq!(ConnectResponse::decode(&response.encode()[4..]).unwrap(), response);
    }
}
