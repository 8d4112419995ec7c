# Builds the two binaries as a small static image without shell that runs as a user without rights.
#   docker build -t outboxd .            docker build --build-arg VERSION=v1.2.3 -t outboxd:v1.2.3 .

FROM golang:1.26 AS build
WORKDIR /src
# The modules first: a change of the source does not download them again.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION
ENV CGO_ENABLED=0
# The checkout's history is not in the build's context, so the version comes from VERSION alone.
RUN go build -trimpath -buildvcs=false -ldflags "-s -w -X main.release=$VERSION" -o /out/ ./cmd/outboxd ./cmd/probe \
 && go build -trimpath -buildvcs=false -ldflags "-s -w -X main.release=$VERSION" -o /out/outbox-api ./cmd/api

FROM scratch
# The providers' certificates are checked against these.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/outboxd /out/outbox-api /out/probe /
# A number, not a name: Kubernetes' runAsNonRoot cannot tell what a name stands for.
USER 65532:65532
# Health and metrics of the worker (OUTBOXD_LISTEN), and the reference API (OUTBOX_API_LISTEN).
EXPOSE 8425 8426
ENTRYPOINT ["/outboxd"]
CMD ["worker"]
