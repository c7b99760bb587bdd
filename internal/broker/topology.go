package broker

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"
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

// Topology names what the worker needs of JetStream, all by the settings that the
// comments name.
type Topology struct {
	Replicas int // nats.replicas, of every stream and bucket

	JobsStream      string        // jobs.stream
	JobsSubject     string        // jobs.subject
	JobsConsumer    string        // jobs.consumer
	JobsMaxBytes    int64         // jobs.max_bytes
	DuplicateWindow time.Duration // jobs.duplicate_window
	AckWait         time.Duration // worker.ack_wait

	ResultsBucket    string        // results.bucket
	ResultsSubject   string        // results.subject
	ResultsRetention time.Duration // results.retention

	DeadStream    string        // dead_letters.stream
	DeadSubject   string        // dead_letters.subject
	DeadRetention time.Duration // dead_letters.retention

	LimitsBucket string // limits.bucket
	// LimitsTTL is how long a phone's document is kept after its last change: at
	// least the longest window. 0 keeps documents for ever.
	LimitsTTL time.Duration
}

// stream is what all our streams have in common: they are kept on disk, without
// limits other than those that are set.
func (t Topology) stream(name, description, subjects string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        name,
		Description: description,
		Subjects:    []string{subjects},
		Storage:     jetstream.FileStorage,
		Replicas:    t.Replicas,
		AllowDirect: true,
	}
}

// jobs is the stream of jobs: a work queue, so that a settled job is gone. When full
// it refuses new jobs, and the producer gets an error.
func (t Topology) jobs() jetstream.StreamConfig {
	c := t.stream(t.JobsStream, "jobs of passcode-worker", t.JobsSubject)
	c.Retention = jetstream.WorkQueuePolicy
	c.Discard = jetstream.DiscardNew
	c.MaxBytes = t.JobsMaxBytes
	c.Duplicates = t.DuplicateWindow
	return c
}

// consumer is the one consumer that every replica of the worker pulls from.
func (t Topology) consumer() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       t.JobsConsumer,
		Description:   "replicas of passcode-worker",
		FilterSubject: t.JobsSubject,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		ReplayPolicy:  jetstream.ReplayInstantPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       t.AckWait,
		// A delivery is no attempt: waiting, pauses and restarts deliver again. A
		// job that ran out of deliveries would stay in the stream, undelivered.
		MaxDeliver: -1,
		// A job that waits for its next attempt counts as pending, and with a cap
		// would keep fresh ones from being delivered. Each worker bounds what it pulls.
		MaxAckPending: -1,
		MaxWaiting:    maxWaitingPulls,
	}
}

// results is the bucket of request records. The server announces each record by
// republishing it.
func (t Topology) results() jetstream.StreamConfig {
	c := t.bucket(t.ResultsBucket, "requests of passcode-worker, the last state of each", ResultHistory, t.ResultsRetention)
	c.RePublish = &jetstream.RePublish{
		Source:      bucketSubject(t.ResultsBucket, ">"),
		Destination: t.ResultsSubject + ".>",
	}
	return c
}

// limits is the bucket of the per-phone limits.
func (t Topology) limits() jetstream.StreamConfig {
	return t.bucket(t.LimitsBucket, "limits of passcode-worker, one document a phone", 1, t.LimitsTTL)
}

// dead is the stream of dead letters: reading takes none away, and the newest of a
// subject is kept. It has no size limit, because a refused dead letter is a job that
// can't be settled.
func (t Topology) dead() jetstream.StreamConfig {
	c := t.stream(t.DeadStream, "jobs of passcode-worker that need an operator", t.DeadSubject+".>")
	c.Retention = jetstream.LimitsPolicy
	c.Discard = jetstream.DiscardOld
	c.MaxMsgsPerSubject = 1
	c.MaxAge = t.DeadRetention
	c.Duplicates = within(deadDuplicateWindow, t.DeadRetention)
	return c
}

// bucket is the stream behind a key-value bucket, as jetstream's CreateKeyValue
// makes it; that one rewrites an existing stream in some cases.
func (t Topology) bucket(name, description string, history int64, ttl time.Duration) jetstream.StreamConfig {
	c := t.stream(bucketStream(name), description, bucketSubject(name, ">"))
	c.Retention = jetstream.LimitsPolicy
	c.Discard = jetstream.DiscardNew
	c.MaxMsgsPerSubject = history
	c.MaxAge = ttl
	c.Duplicates = within(2*time.Minute, ttl)
	c.AllowRollup = true
	c.DenyDelete = true
	return c
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
