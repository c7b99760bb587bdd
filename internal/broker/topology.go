package broker

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/config"
)

// ResultHistory is how many states of a request its bucket keeps, for operators.
// A request with more, such as many doubtful attempts, loses the first.
const ResultHistory = 16

// Items lists what the worker needs of JetStream, in the order of provisioning. The jobs come last: once they can
// be published, all that settles them is there. limitsTTL is how long a phone's document is kept after its last
// change, at least the longest window; 0 keeps documents for ever.
func Items(cfg config.Config, limitsTTL time.Duration) []Item {
	limits := bucket(cfg.Limits.Bucket, "limits of passcode-worker, one document a phone", 1, limitsTTL)
	results := bucket(cfg.Results.Bucket, "requests of passcode-worker, the last state of each", ResultHistory, cfg.Results.Retention)
	// The server announces each record by republishing it.
	results.RePublish = &jetstream.RePublish{
		Source: bucketSubject(cfg.Results.Bucket, ">"), Destination: cfg.Results.Subject + ".>",
	}
	// Reading takes no dead letter away, and the newest of a subject is kept. There is no
	// size limit, because a refused dead letter is a job that can't be settled.
	dead := jetstream.StreamConfig{
		Name:              cfg.DeadLetters.Stream,
		Description:       "jobs of passcode-worker that need an operator",
		Subjects:          []string{cfg.DeadLetters.Subject + ".>"},
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardOld,
		MaxMsgsPerSubject: 1,
		MaxAge:            cfg.DeadLetters.Retention,
		// Past the redelivery of a job whose worker died after it wrote the dead letter.
		Duplicates: within(time.Hour, cfg.DeadLetters.Retention),
	}
	// A work queue, so that a settled job is gone. When full it refuses new jobs, and the producer gets an error.
	jobs := jetstream.StreamConfig{
		Name:        cfg.Jobs.Stream,
		Description: "jobs of passcode-worker",
		Subjects:    []string{cfg.Jobs.Subject},
		Retention:   jetstream.WorkQueuePolicy,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    int64(cfg.Jobs.MaxBytes),
		Duplicates:  cfg.Jobs.DuplicateWindow,
	}
	// The one consumer that every replica of the worker pulls from.
	consumer := jetstream.ConsumerConfig{
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
		// Each replica has one or two pull requests open; the server's default is 512.
		MaxWaiting: 8192,
	}
	stored := func(role Role, kind Kind, name string, c jetstream.StreamConfig) Item {
		c.Storage, c.Replicas, c.AllowDirect = jetstream.FileStorage, max(cfg.NATS.Replicas, 1), true
		return Item{Role: role, Kind: kind, Name: name, Stream: c.Name, stream: c}
	}
	return []Item{
		stored(Results, KindBucket, cfg.Results.Bucket, results),
		stored(Limits, KindBucket, cfg.Limits.Bucket, limits),
		stored(Dead, KindStream, dead.Name, dead),
		stored(Jobs, KindStream, jobs.Name, jobs),
		{Role: Consumer, Kind: KindConsumer, Name: consumer.Durable, Stream: jobs.Name, consumer: consumer},
	}
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

// within caps a duplicate window at a stream's maximum age, as the server demands; age 0 is none.
func within(window, age time.Duration) time.Duration {
	if age > 0 {
		return min(window, age)
	}
	return window
}
