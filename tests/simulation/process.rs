//! Servers on the network: the real service, behind the HTTP server of hyper.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bowline::auth::{Key, KeyRing};
use bowline::server::DrainReport;
use bowline::store::SessionStore;
use bowline::{Principal, Recovery, Resumption, Service};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tower_service::Service as _;

use crate::app::{self, Front, Ledger, Life, ShopRef, Site};
use crate::faulty::{Fault, FaultyStore};
use crate::network::Network;

/// The host name that leads to one process, whichever it is.
pub(crate) const SHOP: &str = "shop.localhost";

/// The host name of one process.
pub(crate) fn host(number: usize) -> String {
    format!("p{number}.localhost")
}

pub(crate) struct Process {
    pub(crate) number: usize,
    pub(crate) service: Service,
    pub(crate) store: Option<FaultyStore>,
    pub(crate) life: Life,
    network: Network,
}

impl Process {
    /// Starts a process that keeps its sessions in a store, if there is one.
    pub(crate) fn start(
        number: usize,
        network: &Network,
        ledger: &Arc<Ledger>,
        store: Option<Arc<dyn SessionStore>>,
        advertises: bool,
    ) -> Self {
        let life = Life::default();
        let site = Site { ledger: Arc::clone(ledger), life: life.clone() };
        let store = store.map(FaultyStore::new);
        let mut resumption = Resumption::default();
        resumption.keys = KeyRing::new(Key::new("test", &[7; 32]).unwrap()).into();
        let mut service = {
            let site = site.clone();
            Service::new(move |peer| ShopRef::new(Front::new(site.clone(), peer))).resumption(resumption)
        };
        if let Some(store) = &store {
            let mut recovery = Recovery::in_store(store.clone()).restorer(app::restorer(site));
            if advertises {
                recovery = recovery.advertise(format!("ws://{}/rpc", host(number)));
            }
            service = service.recovery(recovery);
        }
        let service = service.authenticate(|name: &str| Some(Principal::new(name)));
        let serving = service.clone();
        network.attach(number, move |stream| drop(tokio::spawn(serve(stream, serving.clone()))));
        network.route(&host(number), number);
        Self { number, service, store, life, network: network.clone() }
    }

    /// The process is gone from one moment to the next: nothing of it is heard or done any more.
    pub(crate) fn kill(self) {
        self.life.end();
        self.store.iter().for_each(|store| store.set_fault(Fault::Refuse));
        self.network.detach(self.number);
    }

    /// Stops as a process does that is replaced.
    pub(crate) async fn drain(self, within: Duration) -> DrainReport {
        let report = self.service.drain(within).await;
        self.network.detach(self.number);
        report
    }
}

async fn serve(stream: DuplexStream, service: Service) {
    let respond = service_fn(move |request: http::Request<Incoming>| {
        let mut service = service.clone();
        async move { Ok::<_, Infallible>(service.call(request).await.unwrap_or_else(|never| match never {})) }
    });
    // Connections end in all ways here.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), respond).with_upgrades().await);
}
