//! Created rooms, and who is removed from them, by the API.

use super::*;

/// Cores that do what is asked of created rooms.
fn administering() -> Arc<Api> {
    api_with(settings(), |_, call| {
        let Call::Room { room, from, ask } = call else {
            return FakeCall::Answers(CallAnswer::Ended { count: 2, next: None });
        };
        let refused = |code| Answer::Refused(Refusal { code, message: "why", retry_after_ms: None });
        FakeCall::Answers(CallAnswer::Room(match ask.clone() {
            Ask::CreateRoom { visibility, title } => {
                assert_eq!(&**from, "ann");
                Answer::Room(RoomInfo { visibility, role: None, title, figures: None })
            }
            Ask::RoomInfo => {
                let (visibility, title, figures) = (Visibility::Public, "T".into(), Some((3, 9)));
                Answer::Room(RoomInfo { visibility, role: None, title, figures })
            }
            Ask::DeleteRoom => Answer::RoomDeleted,
            Ask::SetRole { user, role } => Answer::RoleSet { user, role },
            Ask::Invite { uses_max, ttl_ms } => {
                Answer::Invited { code: format!("{uses_max} for {ttl_ms}").into(), expires_at: 7 }
            }
            Ask::Kick { .. } if &**room == "unknown" => refused(ErrorCode::RoomNotFound),
            Ask::Kick { .. } if &**room == "last" => refused(ErrorCode::Forbidden),
            Ask::Kick { user } => Answer::Kicked { user },
            other => panic!("not asked here: {other:?}"),
        }))
    })
}

#[tokio::test]
async fn rooms_are_created_and_administered() {
    let api = administering();
    let create = r#"{"room":"den","visibility":"private","title":"The den","user":"ann"}"#;
    let created = json!({"room": "den", "visibility": "private", "title": "The den"});
    assert_eq!(post(&api, "/api/create_room", create).await.body, created);
    let info = json!({"room": "den", "visibility": "public", "title": "T", "members": 3, "head_seq": 9});
    assert_eq!(get(&api, "/api/rooms/den/info").await.body, info);
    let role = json!({"room": "den", "user": "bob", "role": "admin"});
    assert_eq!(post(&api, "/api/set_role", &role.to_string()).await.body, role);
    let invite = json!({"room": "den", "code": "2 for 60000", "expires_at": 7});
    assert_eq!(post(&api, "/api/invite", r#"{"room":"den","max_uses":2,"ttl_s":60}"#).await.body, invite);
    let unbounded = post(&api, "/api/invite", r#"{"room":"den"}"#).await.body;
    assert_eq!(unbounded["code"], "0 for 604800000");
    assert_eq!(post(&api, "/api/delete_room", r#"{"room":"den"}"#).await.body, json!({"room": "den"}));
    refused(&post(&api, "/api/delete_room", r#"{"room":"@ann"}"#).await, 403, "forbidden");
    let long = format!(r#"{{"room":"den","visibility":"public","title":"{}"}}"#, "x".repeat(257));
    refused(&post(&api, "/api/create_room", &long).await, 413, "too_large");
}

#[tokio::test]
async fn a_kick_ends_the_lasting_membership_first() {
    let api = administering();
    for room in ["den", "unknown"] {
        let kicked = post(&api, "/api/kick", &json!({"room": room, "user": "bob"}).to_string()).await;
        assert_eq!(kicked.body, json!({"room": room, "user": "bob", "kicked": 4}), "by both cores");
    }
    refused(&post(&api, "/api/kick", r#"{"room":"last","user":"bob"}"#).await, 403, "forbidden");
}
