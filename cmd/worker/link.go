package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/ratelimit"
)

// commandPatience bounds what a command waits for the broker; run waits for ever.
const commandPatience = 10 * time.Second

// link is a connection to the broker.
type link struct {
	nc *nats.Conn
	js jetstream.JetStream
}

// dial connects as the settings say. It doesn't wait for the broker to be there.
func dial(ctx context.Context, n config.NATS, url, name, inbox string, log *slog.Logger) (*link, error) {
	nc, err := broker.Connect(ctx, brokerOptions(n, url, name, inbox), log)
	if err != nil {
		return nil, usageError{err}
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("JetStream: %w", err)
	}
	return &link{nc: nc, js: js}, nil
}

func brokerOptions(n config.NATS, url, name, inbox string) broker.Options {
	return broker.Options{
		URL:          url,
		Name:         name,
		Inbox:        inbox,
		Creds:        n.Creds,
		User:         n.User,
		Password:     n.Password,
		Token:        n.Token,
		NKeySeedFile: n.NkeySeedFile,
		CA:           n.TLS.CA,
		Cert:         n.TLS.Cert,
		Key:          n.TLS.Key,
	}
}

// dialNow connects for a command, which fails where the broker isn't there.
func dialNow(ctx context.Context, cfg config.Config, log *slog.Logger) (*link, error) {
	l, err := dial(ctx, cfg.NATS, cfg.NATS.URL.Reveal(), "worker command", broker.CommandInbox, log)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, commandPatience,
		fmt.Errorf("not connected to %s within %s", cfg.NATS.URL, commandPatience))
	defer cancel()
	if err := broker.WaitConnected(ctx, l.nc); err != nil {
		l.nc.Close()
		return nil, err
	}
	return l, nil
}

// topology is what the settings want to be there in JetStream.
func topology(cfg config.Config) broker.Topology {
	return broker.Topology{
		Replicas:         cfg.NATS.Replicas,
		JobsStream:       cfg.Jobs.Stream,
		JobsSubject:      cfg.Jobs.Subject,
		JobsConsumer:     cfg.Jobs.Consumer,
		JobsMaxBytes:     int64(cfg.Jobs.MaxBytes),
		DuplicateWindow:  cfg.Jobs.DuplicateWindow,
		AckWait:          cfg.Worker.AckWait,
		ResultsBucket:    cfg.Results.Bucket,
		ResultsSubject:   cfg.Results.Subject,
		ResultsRetention: cfg.Results.Retention,
		DeadStream:       cfg.DeadLetters.Stream,
		DeadSubject:      cfg.DeadLetters.Subject,
		DeadRetention:    cfg.DeadLetters.Retention,
		LimitsBucket:     cfg.Limits.Bucket,
		LimitsTTL:        ratelimit.BucketTTL(cfg.Limits.Phone),
	}
}
