//! The credentials of one cluster: what its files hold now, the token that lasts, and the keys that a password comes to.

use super::exchange::Exchange;
use super::files::{Kept, current, token};
use super::scram::{Hash, ITERATIONS_LEAST, KeyCache, Keys, Known};
use super::serve::Server;
use super::token::{Asked, Token, fetch, since_epoch};
use super::{SaslError, bearer};
use crate::config::{Mechanism, Sasl, Secret, Tls as TlsOptions};
use crate::dns::Resolver;
use crate::net::ConnectOptions;
use crate::time::now;
use crate::tls::{self, Tls};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

/// A token is got anew when so much of its life is over.
const RENEWED_AT: f64 = 0.8;
/// The pauses between attempts to get a token anew, while the one before lasts.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// And no pause is longer than so much of what is left of it.
const PAUSE_OF_REST: u32 = 4;
/// The longest pause while there is none, or one that a server has refused: somebody can't connect meanwhile.
const PAUSE_WITHOUT: Duration = Duration::from_secs(3);
/// How often a token is doubted that servers refuse: they may mean more than this token, and would refuse the next one, too.
const REFUSED_EVERY: Duration = Duration::from_secs(10);
/// For so long another is waited for while there is one that a server has refused.
const DOUBTED: Duration = Duration::from_secs(1);
/// A token that lasts for less is got anew not earlier than this.
const RENEWED_LEAST: Duration = Duration::from_millis(200);

/// See the module.
pub struct Keeper {
    resolver: Resolver,
    connect: ConnectOptions,
    options: Mutex<Sasl>,
    files: Files,
    checks: Mutex<Option<Checks>>,
    cache: KeyCache,
    tls: Tls,
    token: Mutex<Option<Lasting>>,
    /// When a token was last doubted because a server had refused it.
    refused: Mutex<Option<Instant>>,
    /// Held by whoever gets a token, so that all who need one share it.
    fetching: Arc<tokio::sync::Mutex<()>>,
    failed: Mutex<Option<Failed>>,
    /// What gets the next token.
    fresh: Mutex<Option<AbortHandle>>,
}

#[derive(Debug, Default)]
struct Files {
    password: Kept,
    token: Kept,
    client_secret: Kept,
}

/// What clients' proofs are checked with, of this username and password.
type Checks = (String, Secret, [Known; 2]);

/// A token from an endpoint.
#[derive(Debug)]
struct Lasting {
    secret: Secret,
    ends: Instant,
    /// What it was got with: another configuration needs another.
    of: Sasl,
    /// A server has refused it, so that another is wanted. It may be that server's own fault: while there is no other, the rest take it.
    doubted: bool,
}

/// Why there was no token the last time, which everybody is told until the next attempt.
#[derive(Debug)]
struct Failed {
    error: SaslError,
    /// What it was tried with: another configuration is tried at once.
    of: Sasl,
    at: Instant,
    /// Until the next, if it isn't wanted earlier.
    pause: Duration,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

impl Keeper {
    /// For these options; nothing is read yet. Tokens are got through `resolver`.
    pub fn new(options: Sasl, resolver: Resolver, connect: ConnectOptions) -> Arc<Self> {
        Arc::new(Self {
            resolver,
            connect,
            options: Mutex::new(options),
            files: Files::default(),
            checks: Mutex::default(),
            cache: KeyCache::default(),
            tls: Tls::new(),
            token: Mutex::default(),
            refused: Mutex::default(),
            fetching: Arc::default(),
            failed: Mutex::default(),
            fresh: Mutex::default(),
        })
    }

    /// Other options (a reload).
    pub fn set_options(&self, options: Sasl) {
        *lock(&self.options) = options;
    }

    /// The options now.
    pub fn options(&self) -> Sasl {
        lock(&self.options).clone()
    }

    /// An exchange with a server; none if no mechanism is configured. Waits for a token if there is none yet. Cancel-safe.
    ///
    /// # Errors
    /// A file can't be used, or no token can be got.
    pub async fn exchange(self: &Arc<Self>) -> Result<Option<Exchange>, SaslError> {
        let options = self.options();
        let Some(mechanism) = options.mechanism else { return Ok(None) };
        if mechanism == Mechanism::OauthBearer {
            let token = match &options.token_file {
                Some(path) => current(&self.files.token, path, token)?,
                None => self.token(&options).await?,
            };
            return Ok(Some(Exchange::bearer(&token)));
        }
        let (user, password) = self.password(&options)?;
        match mechanism {
            Mechanism::Plain => Ok(Some(Exchange::plain(&user, &password))),
            scram => Exchange::scram(scram, &user, password, self.cache.clone()).map(Some),
        }
    }

    /// Who we are now, as a server would know it: none if that stands in a token.
    pub fn identity(&self) -> Option<(Mechanism, Option<String>)> {
        let options = lock(&self.options);
        Some((options.mechanism?, options.username.clone().filter(|_| options.password_file.is_some())))
    }

    fn password(&self, options: &Sasl) -> Result<(String, Secret), SaslError> {
        let (Some(user), Some(path)) = (&options.username, &options.password_file) else {
            return Err(SaslError::Missing);
        };
        Ok((user.clone(), current(&self.files.password, path, Secret::read)?))
    }

    /// The mechanisms by which a client can show the password that is held; none where a token is.
    pub fn served(&self) -> &'static [Mechanism] {
        let of_password = lock(&self.options).password_file.is_some();
        if of_password { &[Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512] } else { &[] }
    }

    /// Checks a client by one of the [`served`](Self::served) mechanisms.
    ///
    /// # Errors
    /// The file of the password can't be used.
    pub fn server(&self, mechanism: Mechanism) -> Result<Server, SaslError> {
        let (user, password) = self.password(&self.options())?;
        if mechanism == Mechanism::Plain {
            return Ok(Server::plain(&user, &password));
        }
        let mut checks = lock(&self.checks);
        let known = match &*checks {
            Some((of, with, known)) if *of == user && *with == password => known,
            _ => {
                let known = [known(Hash::Sha256, &user, &password)?, known(Hash::Sha512, &user, &password)?];
                &checks.insert((user, password, known)).2
            }
        };
        let [sha256, sha512] = known;
        let known = if mechanism == Mechanism::ScramSha512 { sha512 } else { sha256 };
        Ok(Server::scram(mechanism, known.clone()))
    }

    /// A server has refused the token: the next exchange begins with another, if there is one to be got, and if not another one
    /// was doubted a moment ago.
    pub fn refused(&self) {
        let (mut token, mut refused) = (lock(&self.token), lock(&self.refused));
        let Some(token) = token.as_mut().filter(|token| !token.doubted) else { return };
        if refused.is_none_or(|at| now().saturating_duration_since(at) >= REFUSED_EVERY) {
            (token.doubted, *refused) = (true, Some(now()));
        }
    }

    /// The token that there is, and whether it is doubted.
    fn lasting(&self, options: &Sasl) -> Option<(Secret, bool)> {
        let token = lock(&self.token);
        let token = token.as_ref().filter(|token| token.of == *options && token.ends > now())?;
        Some((token.secret.clone(), token.doubted))
    }

    async fn token(self: &Arc<Self>, options: &Sasl) -> Result<Secret, SaslError> {
        let doubted = match self.lasting(options) {
            Some((token, false)) => return Ok(token),
            Some((token, true)) => token,
            None => {
                let _one = self.fetching.lock().await;
                return self.another(options).await;
            }
        };
        // A server that takes this one need not wait until an endpoint that says nothing is given up.
        if let Ok(one) = Arc::clone(&self.fetching).try_lock_owned() {
            let (keeper, options) = (Arc::clone(self), options.clone());
            tokio::spawn(async move {
                let _ = keeper.another(&options).await;
                drop(one);
            });
        }
        let _ = tokio::time::timeout(DOUBTED, self.fetching.lock()).await;
        Ok(self.lasting(options).map_or(doubted, |(token, _)| token))
    }

    /// A token that isn't doubted: one that was got meanwhile, or another. Whoever calls it has `fetching`.
    async fn another(self: &Arc<Self>, options: &Sasl) -> Result<Secret, SaslError> {
        if let Some((token, false)) = self.lasting(options) {
            return Ok(token);
        }
        let (secret, lasts) = self.attempt(options).await?;
        let fresh = tokio::spawn(keep_fresh(Arc::downgrade(self), options.clone(), lasts, secret.clone()));
        if let Some(before) = lock(&self.fresh).replace(fresh.abort_handle()) {
            before.abort();
        }
        Ok(secret)
    }

    /// Gets a token, unless that failed a moment ago. Whoever calls it has `fetching`.
    async fn attempt(&self, options: &Sasl) -> Result<(Secret, Duration), SaslError> {
        let last = lock(&self.failed)
            .as_ref()
            .filter(|failed| failed.of == *options)
            .map(|failed| (failed.pause, (now() < self.due(failed)).then(|| failed.error.clone())));
        if let Some((_, Some(error))) = last {
            return Err(error);
        }
        let got = self.fetch(options).await;
        let Err(error) = &got else {
            *lock(&self.failed) = None;
            return got;
        };
        let next = last.map_or(PAUSES.0, |(pause, _)| (pause * 2).min(PAUSES.1));
        let pause = next.min(self.longest_pause(options));
        tracing::warn!(%error, ?pause, "no token; the one before, if there is one, is used for as long as it lasts");
        let (error, of) = (error.clone(), options.clone());
        *lock(&self.failed) = Some(Failed { error, of, at: now(), pause });
        got
    }

    /// By how much the next attempt may be put off as things are now. The token that there is ends, and sessions with it: the closer that
    /// is, the sooner it is tried again.
    fn longest_pause(&self, options: &Sasl) -> Duration {
        let token = lock(&self.token);
        let good = token.as_ref().filter(|token| token.of == *options && !token.doubted);
        let rest = good.map(|token| token.ends.saturating_duration_since(now()));
        let rest = rest.filter(|rest| !rest.is_zero());
        rest.map_or(PAUSE_WITHOUT, |rest| (rest / PAUSE_OF_REST).clamp(PAUSES.0, PAUSES.1))
    }

    /// When the next attempt may be made. A token that was good then may be doubted by now.
    fn due(&self, failed: &Failed) -> Instant {
        failed.at + failed.pause.min(self.longest_pause(&failed.of))
    }

    /// For how long nobody needs to try.
    fn rest(&self) -> Duration {
        let failed = lock(&self.failed);
        failed.as_ref().map_or(Duration::ZERO, |failed| self.due(failed).saturating_duration_since(now()))
    }

    async fn fetch(&self, options: &Sasl) -> Result<(Secret, Duration), SaslError> {
        let (Some(endpoint), Some(client_id), Some(path)) =
            (&options.token_endpoint, &options.client_id, &options.client_secret_file)
        else {
            return Err(SaslError::Missing);
        };
        let client_secret = current(&self.files.client_secret, path, Secret::read)?;
        let secure = secure(options);
        let asked = Asked {
            endpoint,
            tls: &self.tls,
            secure: &secure,
            client_id,
            secret: &client_secret,
            scope: options.scope.as_deref(),
        };
        let got = fetch(&self.resolver, &self.connect, &asked).await;
        let failed = |why| SaslError::Token { endpoint: endpoint.to_string(), why };
        let Token { secret, lasts } = got.map_err(failed)?;
        let ends = now() + lasts;
        *lock(&self.token) =
            Some(Lasting { secret: secret.clone(), ends, of: options.clone(), doubted: false });
        Ok((secret, lasts))
    }
}

/// Gets a token anew before it ends, for as long as it is the one that is used.
async fn keep_fresh(keeper: Weak<Keeper>, options: Sasl, lasts: Duration, first: Secret) {
    let renewed = |lasts: Duration| lasts.mul_f64(RENEWED_AT).max(RENEWED_LEAST);
    let (mut wait, mut last) = (renewed(lasts), first);
    loop {
        tokio::time::sleep(wait).await;
        let Some(keeper) = keeper.upgrade() else { return };
        // Another was got meanwhile, and is kept fresh by whoever got it.
        let is_used = |token: &Lasting| token.secret == last && token.of == options;
        if !lock(&keeper.token).as_ref().is_some_and(is_used) || *lock(&keeper.options) != options {
            return;
        }
        let _one = keeper.fetching.lock().await;
        wait = match keeper.attempt(&options).await {
            Ok((secret, lasts)) => {
                tracing::debug!(?lasts, "a token was got anew");
                last = secret;
                renewed(lasts)
            }
            Err(_) => keeper.rest().max(RENEWED_LEAST),
        };
    }
}

/// How the token endpoint is connected.
fn secure(options: &Sasl) -> TlsOptions {
    let enabled = options.token_endpoint.as_ref().is_some_and(|endpoint| endpoint.encrypted);
    TlsOptions { enabled, ca: options.token_ca.clone(), ..TlsOptions::default() }
}

/// What a client's proof of this password is checked with: a salt of our own.
fn known(hash: Hash, user: &str, password: &Secret) -> Result<Known, SaslError> {
    let mut salt = vec![0; 16];
    SystemRandom::new()
        .fill(&mut salt)
        .map_err(|_| SaslError::Malformed("no random bytes on this system"))?;
    let iterations = NonZeroU32::new(ITERATIONS_LEAST).unwrap_or(NonZeroU32::MAX);
    let keys = Arc::new(Keys::new(hash, password, &salt, iterations));
    Ok(Known { user: user.to_owned(), keys, salt, iterations })
}

/// Reads a file of a secret.
type Read = fn(&Path) -> Result<Secret, String>;

/// What is wrong with each of the files of these options: its key in `[kafka.sasl]`, and why, in a line that names the file.
pub fn faults(options: &Sasl) -> Vec<(&'static str, String)> {
    let wrong = |key, path: &Option<PathBuf>, read: Read| {
        let path = path.as_deref()?;
        let why = read(path).err()?;
        Some((key, format!("{}: {why}", path.display())))
    };
    let secrets = [
        wrong("password_file", &options.password_file, Secret::read),
        wrong("token_file", &options.token_file, lasting),
        wrong("client_secret_file", &options.client_secret_file, Secret::read),
    ];
    let mut all: Vec<_> = secrets.into_iter().flatten().collect();
    let secure = secure(options);
    if secure.enabled && secure.ca.is_some() {
        all.extend(tls::faults(&secure).into_iter().map(|(_, error)| ("token_ca", error.to_string())));
    }
    all
}

/// A token that has not expired.
fn lasting(path: &Path) -> Result<Secret, String> {
    let token = token(path)?;
    if bearer::lasts(&token, since_epoch()).is_some_and(|lasts| lasts.is_zero()) {
        return Err("holds a token that has expired".to_owned());
    }
    Ok(token)
}
