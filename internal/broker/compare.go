package broker

import (
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Difference is one field of a stream or consumer that is not as the settings
// want it. The field's name is the one in the server's own listings.
type Difference struct {
	Field string `json:"field"`
	Want  string `json:"want"`
	Have  string `json:"have"`
}

func (d Difference) String() string {
	return fmt.Sprintf("%s is %s, the settings want %s", d.Field, d.Have, d.Want)
}

// field is a field to compare. Those are compared that the worker's guarantees
// rest on. What an operator may tune without harm (description, metadata,
// placement, compression) is not among them.
type field struct {
	name       string
	want, have any
}

func differences(fields ...field) []Difference {
	var list []Difference
	for _, f := range fields {
		if want, have := show(f.want), show(f.have); want != have {
			list = append(list, Difference{Field: f.name, Want: want, Have: have})
		}
	}
	return list
}

func show(value any) string {
	if text, ok := value.(string); ok {
		return fmt.Sprintf("%q", text)
	}
	return fmt.Sprint(value)
}

func compareStream(want, have jetstream.StreamConfig) []Difference {
	return differences(
		field{"subjects", want.Subjects, have.Subjects},
		field{"retention", want.Retention, have.Retention},
		field{"discard", want.Discard, have.Discard},
		field{"discard_new_per_subject", want.DiscardNewPerSubject, have.DiscardNewPerSubject},
		field{"storage", want.Storage, have.Storage},
		field{"num_replicas", max(want.Replicas, 1), have.Replicas},
		field{"max_bytes", limit(want.MaxBytes), limit(have.MaxBytes)},
		field{"max_msgs", limit(want.MaxMsgs), limit(have.MaxMsgs)},
		field{"max_msgs_per_subject", limit(want.MaxMsgsPerSubject), limit(have.MaxMsgsPerSubject)},
		field{"max_msg_size", limit(int64(want.MaxMsgSize)), limit(int64(have.MaxMsgSize))},
		field{"max_consumers", limit(int64(want.MaxConsumers)), limit(int64(have.MaxConsumers))},
		field{"max_age", want.MaxAge, have.MaxAge},
		field{"duplicate_window", want.Duplicates, have.Duplicates},
		field{"no_ack", want.NoAck, have.NoAck},
		field{"sealed", want.Sealed, have.Sealed},
		field{"deny_delete", want.DenyDelete, have.DenyDelete},
		field{"deny_purge", want.DenyPurge, have.DenyPurge},
		field{"allow_rollup_hdrs", want.AllowRollup, have.AllowRollup},
		field{"allow_direct", want.AllowDirect, have.AllowDirect},
		field{"republish", showRePublish(want.RePublish), showRePublish(have.RePublish)},
		field{"mirror", showSource(want.Mirror), showSource(have.Mirror)},
		field{"sources", len(want.Sources), len(have.Sources)},
		field{"subject_transform", want.SubjectTransform != nil, have.SubjectTransform != nil},
	)
}

// limit shows 0 as -1: the server takes both for no limit.
func limit(n int64) int64 {
	if n <= 0 {
		return -1
	}
	return n
}

func showRePublish(r *jetstream.RePublish) string {
	switch {
	case r == nil:
		return ""
	case r.HeadersOnly:
		return r.Source + " to " + r.Destination + ", headers only"
	default:
		return r.Source + " to " + r.Destination
	}
}

func showSource(s *jetstream.StreamSource) string {
	if s == nil {
		return ""
	}
	return s.Name
}

func compareConsumer(want, have jetstream.ConsumerConfig) []Difference {
	return differences(
		field{"filter_subjects", filters(want), filters(have)},
		field{"deliver_policy", want.DeliverPolicy, have.DeliverPolicy},
		field{"replay_policy", want.ReplayPolicy, have.ReplayPolicy},
		field{"ack_policy", want.AckPolicy, have.AckPolicy},
		field{"ack_wait", want.AckWait, have.AckWait},
		field{"max_deliver", want.MaxDeliver, have.MaxDeliver},
		field{"max_ack_pending", want.MaxAckPending, have.MaxAckPending},
		field{"max_waiting", want.MaxWaiting, have.MaxWaiting},
		field{"backoff", len(want.BackOff), len(have.BackOff)},
		field{"headers_only", want.HeadersOnly, have.HeadersOnly},
		field{"max_batch", want.MaxRequestBatch, have.MaxRequestBatch},
		field{"max_expires", want.MaxRequestExpires, have.MaxRequestExpires},
		field{"max_bytes", want.MaxRequestMaxBytes, have.MaxRequestMaxBytes},
		field{"inactive_threshold", want.InactiveThreshold, have.InactiveThreshold},
		field{"mem_storage", want.MemoryStorage, have.MemoryStorage},
		field{"deliver_subject", want.DeliverSubject, have.DeliverSubject},
		field{"priority_policy", want.PriorityPolicy, have.PriorityPolicy},
	)
}

func filters(c jetstream.ConsumerConfig) []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	return c.FilterSubjects
}
