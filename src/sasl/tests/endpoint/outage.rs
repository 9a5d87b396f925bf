//! A token endpoint that is out of order, and brokers that refuse what it hands out: neither is met by a storm.

use super::*;
use crate::time::{go_on, now};

/// Hands out `token-1`, `token-2`, … for an hour each while the switch is on, else says 500; counts.
async fn switched() -> (String, Heard, Arc<AtomicU32>) {
    switched_for(3600).await
}

/// The same, for so many seconds each.
async fn switched_for(lasts: u32) -> (String, Heard, Arc<AtomicU32>) {
    let works = Arc::new(AtomicU32::new(0));
    let is_on = Arc::clone(&works);
    let says = move |_| (if is_on.load(Relaxed) > 0 { "200 OK" } else { "500 No" }, lasts);
    let (at, heard) = answering(says).await;
    (at, heard, works)
}

fn asked(heard: &Heard) -> usize {
    heard.lock().unwrap().len()
}

/// A hundred connections that ask again and again, as their sessions' renewals do.
#[tokio::test]
async fn an_endpoint_that_fails_is_asked_with_growing_pauses() {
    let folder = Folder::new();
    let (at, heard, works) = switched().await;
    let keeper = client(&folder, &at);
    let began = Instant::now();
    let mut told = String::new();
    while began.elapsed() < Duration::from_millis(2500) {
        for _ in 0..100 {
            told = keeper.exchange().await.unwrap_err().to_string();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(told.contains("no token from") && told.contains("500"), "{told}");
    // At 0 s, 1 s, and 3 s or later.
    assert!((2..=3).contains(&asked(&heard)), "{} requests", asked(&heard));
    works.store(1, Relaxed);
    while keeper.exchange().await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "it is got once it is there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What failed is forgotten, and another configuration is tried at once.
    works.store(0, Relaxed);
    let other = |path: &str| config::Sasl { token_ca: Some(path.into()), ..keeper.options() };
    let before = asked(&heard);
    for path in ["a", "b"] {
        keeper.set_options(other(path));
        assert!(keeper.exchange().await.is_err());
    }
    assert_eq!(asked(&heard), before + 2);
}

#[tokio::test]
async fn a_token_that_brokers_refuse_is_replaced_now_and_then() {
    let folder = Folder::new();
    let (at, heard, works) = switched().await;
    works.store(1, Relaxed);
    let keeper = client(&folder, &at);
    let mut shown = Vec::new();
    for _ in 0..100 {
        shown = keeper.exchange().await.unwrap().unwrap().first().expose().to_vec();
        keeper.refused();
    }
    assert_eq!(asked(&heard), 2, "and the next one in ten seconds");
    assert_eq!(shown, b"n,,\x01auth=Bearer token-2\x01\x01");
}

/// Each token has one that gets the next, and those before it end.
#[tokio::test]
async fn one_task_keeps_a_token_fresh() {
    let folder = Folder::new();
    let (at, heard, works) = switched().await;
    works.store(1, Relaxed);
    let keeper = client(&folder, &at);
    keeper.exchange().await.unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for path in 0..20 {
        keeper.set_options(config::Sasl { token_ca: Some(path.to_string().into()), ..keeper.options() });
        keeper.exchange().await.unwrap();
    }
    assert_eq!(asked(&heard), 21);
    let until = Instant::now() + Duration::from_secs(20);
    while tasks() > before {
        assert!(Instant::now() < until, "{} tasks, {before} before", tasks());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn why_there_is_no_token_is_told_without_the_secret() {
    let folder = Folder::new();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let told = client(&folder, &format!("http://{gone}/t")).exchange().await.unwrap_err().to_string();
    assert!(told.contains("no token from http://") && told.contains("refused"), "{told}");
    assert!(!told.contains("s3cret"), "{told}");
}

async fn shown(keeper: &Arc<Keeper>) -> Result<String, SaslError> {
    let first = keeper.exchange().await?.unwrap().first();
    Ok(String::from_utf8(first.expose().to_vec()).unwrap())
}

/// Nobody can connect meanwhile: that must not last for much longer than the outage.
#[tokio::test(start_paused = true)]
async fn without_a_token_an_endpoint_that_is_back_is_soon_asked() {
    go_on(Duration::from_millis(10));
    let folder = Folder::new();
    let (at, heard, works) = switched().await;
    let keeper = client(&folder, &at);
    let began = now();
    while now() - began < Duration::from_secs(35) {
        assert!(shown(&keeper).await.is_err());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // At 0, 1 and 3 s, and each 3 s from then on.
    assert!((10..=14).contains(&asked(&heard)), "{} requests", asked(&heard));
    works.store(1, Relaxed);
    let back = now();
    while shown(&keeper).await.is_err() {
        assert!(now() - back < Duration::from_secs(4), "nobody asks");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_token_lasts_its_endpoint_has_time_to_come_back() {
    go_on(Duration::from_millis(100));
    let folder = Folder::new();
    let (at, heard, works) = switched_for(1000).await;
    works.store(1, Relaxed);
    let keeper = client(&folder, &at);
    let first = shown(&keeper).await.unwrap();
    works.store(0, Relaxed);
    // 80 % of its life, and a minute.
    tokio::time::sleep(Duration::from_secs(800 + 60)).await;
    assert_eq!(shown(&keeper).await.unwrap(), first);
    // The first, and another after 0, 1, 3, 7, 15 and 31 s.
    assert!((6..=8).contains(&asked(&heard)), "{} requests", asked(&heard));
    // One that a server has refused is used as well, and another sought soon.
    keeper.refused();
    let (before, refused) = (asked(&heard), now());
    while now() - refused < Duration::from_secs(30) {
        assert_eq!(shown(&keeper).await.unwrap(), first);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let more = asked(&heard) - before;
    assert!((7..=12).contains(&more), "{more} requests");
    // Its end.
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(shown(&keeper).await.is_err());
}

/// A broker without the keys of the identity provider, which is down itself, refuses a good token.
#[tokio::test]
async fn a_token_that_one_server_refuses_is_there_for_the_others() {
    let folder = Folder::new();
    let (at, heard, works) = switched().await;
    works.store(1, Relaxed);
    let keeper = client(&folder, &at);
    let first = shown(&keeper).await.unwrap();
    works.store(0, Relaxed);
    for _ in 0..100 {
        keeper.refused();
        assert_eq!(shown(&keeper).await.as_ref(), Ok(&first));
    }
    assert!((2..=4).contains(&asked(&heard)), "{} requests", asked(&heard));
    works.store(1, Relaxed);
    let until = Instant::now() + Duration::from_secs(20);
    while shown(&keeper).await.unwrap() == first {
        assert!(Instant::now() < until, "there is no other");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Nor is it kept from them until an endpoint that says nothing is given up.
#[tokio::test]
async fn a_token_in_doubt_waits_for_no_silent_endpoint() {
    let folder = Folder::new();
    let (listener, at) = listen("http").await;
    let heard = Heard::default();
    let told = Arc::clone(&heard);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        hand_out(stream, &told, |_| ("200 OK", 3600)).await;
        let mut silent = Vec::new();
        loop {
            silent.push(listener.accept().await.unwrap());
        }
    });
    let keeper = client(&folder, &at);
    let first = shown(&keeper).await.unwrap();
    keeper.refused();
    let began = Instant::now();
    let (a, b) = tokio::join!(shown(&keeper), shown(&keeper));
    assert_eq!((a.as_ref(), b.as_ref()), (Ok(&first), Ok(&first)));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
