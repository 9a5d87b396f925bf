//! A token endpoint that is out of order, and brokers that refuse what it hands out: neither is met by a storm.

use super::*;

/// Hands out `token-1`, `token-2`, … for an hour each while the switch is on, else says 500; counts.
async fn switched() -> (String, Heard, Arc<AtomicU32>) {
    let (listener, at) = listen("http").await;
    let (heard, works) = (Heard::default(), Arc::new(AtomicU32::new(0)));
    let (told, is_on) = (Arc::clone(&heard), Arc::clone(&works));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let works = is_on.load(Relaxed) > 0;
            hand_out(stream, &told, |_| (if works { "200 OK" } else { "500 No" }, 3600)).await;
        }
    });
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
async fn a_token_that_brokers_refuse_is_given_up_now_and_then() {
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
