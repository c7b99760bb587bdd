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
	"github.com/passcode-worker/passcode-worker/internal/ratelimit"
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
func Dial(ctx context.Context, n config.NATS, url, name, inbox string, log *slog.Logger) (*Link, error) {
	nc, err := broker.Connect(ctx, BrokerOptions(n, url, name, inbox), log)
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

// BrokerOptions are the connection that the settings describe.
func BrokerOptions(n config.NATS, url, name, inbox string) broker.Options {
	return broker.Options{
		URL: url, Name: name, Inbox: inbox,
		Creds: n.Creds, User: n.User, Password: n.Password, Token: n.Token, NKeySeedFile: n.NkeySeedFile,
		CA: n.TLS.CA, Cert: n.TLS.Cert, Key: n.TLS.Key,
	}
}

// Topology is what the settings want to be there in JetStream.
func Topology(cfg config.Config) broker.Topology {
	return broker.Topology{
		Replicas:   cfg.NATS.Replicas,
		JobsStream: cfg.Jobs.Stream, JobsSubject: cfg.Jobs.Subject, JobsConsumer: cfg.Jobs.Consumer,
		JobsMaxBytes: int64(cfg.Jobs.MaxBytes), DuplicateWindow: cfg.Jobs.DuplicateWindow, AckWait: cfg.Worker.AckWait,
		ResultsBucket: cfg.Results.Bucket, ResultsSubject: cfg.Results.Subject, ResultsRetention: cfg.Results.Retention,
		DeadStream: cfg.DeadLetters.Stream, DeadSubject: cfg.DeadLetters.Subject, DeadRetention: cfg.DeadLetters.Retention,
		LimitsBucket: cfg.Limits.Bucket, LimitsTTL: ratelimit.BucketTTL(cfg.Limits.Phone),
	}
}

// SenderOptions are the sender that the settings describe.
func SenderOptions(cfg config.Config) aliyun.Options {
	a := cfg.Aliyun
	templates := make([]aliyun.Template, len(a.Templates))
	for i, t := range a.Templates {
		templates[i] = aliyun.Template{
			UsageType: t.UsageType, China: t.TemplateCode.China, Overseas: t.TemplateCode.Overseas,
			SignName: t.SignName, Params: t.Params,
		}
	}
	return aliyun.Options{
		Endpoint: a.Endpoint, Protocol: a.Protocol, SignName: a.SignName, Templates: templates,
		Credentials: aliyun.Credentials{
			AccessKeyID: a.AccessKeyID.Reveal(), AccessKeySecret: a.AccessKeySecret, SecurityToken: a.SecurityToken,
		},
		ConnectTimeout: a.ConnectTimeout, Timeout: a.Timeout,
		MaxQPS: float64(a.MaxQPS), Concurrency: cfg.Worker.Concurrency,
	}
}
