package app

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/aliyun"
	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/config"
)

// UsageError is a mistake in the settings or the command line.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the mistake.
func (e UsageError) Unwrap() error { return e.Err }

// Link is a connection to the broker.
type Link struct {
	NC *nats.Conn
	JS jetstream.JetStream
}

// Dial connects as the settings say. It doesn't wait for the broker to be there.
func Dial(ctx context.Context, n config.NATS, name, inbox string, log *slog.Logger) (*Link, error) {
	nc, err := broker.Connect(ctx, n, name, inbox, log)
	if err != nil {
		return nil, UsageError{err}
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("JetStream: %w", err)
	}
	return &Link{NC: nc, JS: js}, nil
}

// SenderOptions are the sender that the settings describe.
func SenderOptions(cfg config.Config) aliyun.Options {
	a := cfg.Aliyun
	return aliyun.Options{
		Endpoint: a.Endpoint, Protocol: a.Protocol, SignName: a.SignName, Templates: a.Templates,
		Credentials: aliyun.Credentials{
			AccessKeyID: a.AccessKeyID.Reveal(), AccessKeySecret: a.AccessKeySecret, SecurityToken: a.SecurityToken,
		},
		ConnectTimeout: a.ConnectTimeout, Timeout: a.Timeout,
		MaxQPS: float64(a.MaxQPS), Concurrency: cfg.Worker.Concurrency,
	}
}
