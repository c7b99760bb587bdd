package broker

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/config"
)

const (
	// ResultHistory is how many states of a request its bucket keeps, for operators.
	// A request with more, such as many doubtful attempts, loses the first.
	ResultHistory = 16
	// maxWaitingPulls is how many pull requests may be open on the jobs consumer. Each
	// replica holds one or two; the server's default is 512.
	maxWaitingPulls = 8192
	// deadDuplicateWindow is how long the dead-letter stream remembers message ids:
	// past the redelivery of a job whose worker died after it wrote the dead letter.
	deadDuplicateWindow = time.Hour
)

// Items lists what the worker needs of JetStream, in the order of provisioning. The
// jobs come last: once they can be published, all that settles them is there.
// limitsTTL is how long a phone's document is kept after its last change, at least the
// longest window; 0 keeps documents for ever.
func Items(cfg config.Config, limitsTTL time.Duration) []Item {
	return []Item{results(cfg), limits(cfg, limitsTTL), dead(cfg), jobs(cfg), consumer(cfg)}
}

// results is the bucket of request records. The server announces each record by
// republishing it.
func results(cfg config.Config) Item {
	c := bucket(cfg.Results.Bucket, "requests of passcode-worker, the last state of each", ResultHistory, cfg.Results.Retention)
	c.RePublish = &jetstream.RePublish{
		Source:      bucketSubject(cfg.Results.Bucket, ">"),
		Destination: cfg.Results.Subject + ".>",
	}
	return stored(cfg, Results, KindBucket, cfg.Results.Bucket, c)
}

// limits is the bucket of the per-phone limits.
func limits(cfg config.Config, ttl time.Duration) Item {
	c := bucket(cfg.Limits.Bucket, "limits of passcode-worker, one document a phone", 1, ttl)
	return stored(cfg, Limits, KindBucket, cfg.Limits.Bucket, c)
}

// dead is the stream of dead letters: reading takes none away, and the newest of a
// subject is kept. It has no size limit, because a refused dead letter is a job that
// can't be settled.
func dead(cfg config.Config) Item {
	return stored(cfg, Dead, KindStream, cfg.DeadLetters.Stream, jetstream.StreamConfig{
		Name:              cfg.DeadLetters.Stream,
		Description:       "jobs of passcode-worker that need an operator",
		Subjects:          []string{cfg.DeadLetters.Subject + ".>"},
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardOld,
		MaxMsgsPerSubject: 1,
		MaxAge:            cfg.DeadLetters.Retention,
		Duplicates:        within(deadDuplicateWindow, cfg.DeadLetters.Retention),
	})
}

// jobs is the stream of jobs: a work queue, so that a settled job is gone. When full
// it refuses new jobs, and the producer gets an error.
func jobs(cfg config.Config) Item {
	return stored(cfg, Jobs, KindStream, cfg.Jobs.Stream, jetstream.StreamConfig{
		Name:        cfg.Jobs.Stream,
		Description: "jobs of passcode-worker",
		Subjects:    []string{cfg.Jobs.Subject},
		Retention:   jetstream.WorkQueuePolicy,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    int64(cfg.Jobs.MaxBytes),
		Duplicates:  cfg.Jobs.DuplicateWindow,
	})
}

// consumer is the one consumer that every replica of the worker pulls from.
func consumer(cfg config.Config) Item {
	return Item{Role: Consumer, Kind: KindConsumer, Name: cfg.Jobs.Consumer, Stream: cfg.Jobs.Stream, consumer: jetstream.ConsumerConfig{
		Durable:       cfg.Jobs.Consumer,
		Description:   "replicas of passcode-worker",
		FilterSubject: cfg.Jobs.Subject,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		ReplayPolicy:  jetstream.ReplayInstantPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       cfg.Worker.AckWait,
		// A delivery is no attempt: waiting, pauses and restarts deliver again. A
		// job that ran out of deliveries would stay in the stream, undelivered.
		MaxDeliver: -1,
		// A job that waits for its next attempt counts as pending, and with a cap
		// would keep fresh ones from being delivered. Each worker bounds what it pulls.
		MaxAckPending: -1,
		MaxWaiting:    maxWaitingPulls,
	}}
}

// stored is an item that is kept on disk, without limits other than those that are set.
func stored(cfg config.Config, role Role, kind Kind, name string, c jetstream.StreamConfig) Item {
	c.Storage, c.Replicas, c.AllowDirect = jetstream.FileStorage, cfg.NATS.Replicas, true
	return Item{Role: role, Kind: kind, Name: name, Stream: c.Name, stream: c}
}

// bucket is the stream behind a key-value bucket, as jetstream's CreateKeyValue
// makes it; that one rewrites an existing stream in some cases.
func bucket(name, description string, history int64, ttl time.Duration) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              bucketStream(name),
		Description:       description,
		Subjects:          []string{bucketSubject(name, ">")},
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardNew,
		MaxMsgsPerSubject: history,
		MaxAge:            ttl,
		Duplicates:        within(2*time.Minute, ttl),
		AllowRollup:       true,
		DenyDelete:        true,
	}
}

func bucketStream(bucket string) string { return "KV_" + bucket }

func bucketSubject(bucket, key string) string { return "$KV." + bucket + "." + key }

// within caps a duplicate window at a stream's maximum age, as the server
// demands; age 0 is none.
func within(window, age time.Duration) time.Duration {
	if age > 0 {
		return min(window, age)
	}
	return window
}
