//! A rate-limit service on the crate `limitador`: `spillway-rls LIMITS.yaml`, on a free port, which it prints.
//!
//! It reads what `spillway render --rls limitador` writes. Limitador's own server (2.x) takes one number a request for all
//! descriptors, and drops a bill that would overshoot; this one takes each descriptor by itself with its own
//! `hits_addend`: 0 is a question, anything else a bill, which is always written.

use std::collections::HashMap;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitService, RateLimitServiceServer,
};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use limitador::RateLimiter;
use limitador::limit::{Context, Limit, Namespace};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

type Failure = Box<dyn std::error::Error>;

struct Service(RateLimiter);

impl Service {
    /// Whether a descriptor's limits are used up; a bill never is.
    fn is_limited(&self, domain: &Namespace, descriptor: RateLimitDescriptor) -> Result<bool, Status> {
        let broken = |error: limitador::errors::LimitadorError| Status::unavailable(error.to_string());
        let entries = descriptor.entries.into_iter();
        let entries: HashMap<String, String> = entries.map(|entry| (entry.key, entry.value)).collect();
        let mut context = Context::default();
        context.list_binding("descriptors".to_owned(), vec![entries]);
        match descriptor.hits_addend.map_or(1, |hits| hits.value) {
            0 => Ok(self
                .0
                .is_rate_limited(domain, &context, 0)
                .map_err(broken)?
                .limited),
            hits => self
                .0
                .update_counters(domain, &context, hits)
                .map(|()| false)
                .map_err(broken),
        }
    }
}

#[tonic::async_trait]
impl RateLimitService for Service {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let request = request.into_inner();
        let domain = Namespace::from(request.domain);
        let mut code = Code::Ok;
        for descriptor in request.descriptors {
            if self.is_limited(&domain, descriptor)? {
                code = Code::OverLimit;
            }
        }
        let answer = RateLimitResponse {
            overall_code: code.into(),
            ..RateLimitResponse::default()
        };
        Ok(Response::new(answer))
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let file = std::env::args()
        .nth(1)
        .ok_or("spillway-rls needs a file of limits")?;
    let limits: Vec<Limit> = serde_saphyr::from_str(&std::fs::read_to_string(file)?)?;
    let limiter = RateLimiter::new(10_000);
    for limit in limits {
        limiter.add_limit(limit);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    tonic::transport::Server::builder()
        .add_service(RateLimitServiceServer::new(Service(limiter)))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}
