package broker

import (
	"fmt"
	"reflect"
	"strings"
	"time"

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

// differences compares the fields that the worker's guarantees rest on. What an
// operator may tune without harm (description, metadata, placement, compression)
// is not among them.
type differences []Difference

func (d *differences) field(name string, want, have any) {
	if !reflect.DeepEqual(want, have) {
		*d = append(*d, Difference{Field: name, Want: show(want), Have: show(have)})
	}
}

// count compares a limit for which the server takes 0 and -1 alike as none.
func (d *differences) count(name string, want, have int64) {
	d.field(name, max(want, -1), orNone(have))
}

func orNone(limit int64) int64 {
	if limit <= 0 {
		return -1
	}
	return limit
}

func show(value any) string {
	switch v := value.(type) {
	case []string:
		return "[" + strings.Join(v, " ") + "]"
	case []time.Duration:
		return fmt.Sprint(v)
	case string:
		return fmt.Sprintf("%q", v)
	default:
		return fmt.Sprint(v)
	}
}

func compareStream(want, have jetstream.StreamConfig) []Difference {
	var d differences
	d.field("subjects", want.Subjects, have.Subjects)
	d.field("retention", want.Retention, have.Retention)
	d.field("discard", want.Discard, have.Discard)
	d.field("discard_new_per_subject", want.DiscardNewPerSubject, have.DiscardNewPerSubject)
	d.field("storage", want.Storage, have.Storage)
	d.field("num_replicas", max(want.Replicas, 1), have.Replicas)
	d.count("max_bytes", want.MaxBytes, have.MaxBytes)
	d.count("max_msgs", want.MaxMsgs, have.MaxMsgs)
	d.count("max_msgs_per_subject", want.MaxMsgsPerSubject, have.MaxMsgsPerSubject)
	d.count("max_msg_size", int64(want.MaxMsgSize), int64(have.MaxMsgSize))
	d.count("max_consumers", int64(want.MaxConsumers), int64(have.MaxConsumers))
	d.field("max_age", want.MaxAge, have.MaxAge)
	d.field("duplicate_window", want.Duplicates, have.Duplicates)
	d.field("no_ack", want.NoAck, have.NoAck)
	d.field("sealed", want.Sealed, have.Sealed)
	d.field("deny_delete", want.DenyDelete, have.DenyDelete)
	d.field("deny_purge", want.DenyPurge, have.DenyPurge)
	d.field("allow_rollup_hdrs", want.AllowRollup, have.AllowRollup)
	d.field("allow_direct", want.AllowDirect, have.AllowDirect)
	d.field("republish", showRePublish(want.RePublish), showRePublish(have.RePublish))
	d.field("mirror", showSource(want.Mirror), showSource(have.Mirror))
	d.field("sources", len(want.Sources), len(have.Sources))
	d.field("subject_transform", want.SubjectTransform != nil, have.SubjectTransform != nil)
	return d
}

func showRePublish(r *jetstream.RePublish) string {
	if r == nil {
		return ""
	}
	text := r.Source + " to " + r.Destination
	if r.HeadersOnly {
		text += ", headers only"
	}
	return text
}

func showSource(s *jetstream.StreamSource) string {
	if s == nil {
		return ""
	}
	return s.Name
}

func compareConsumer(want, have jetstream.ConsumerConfig) []Difference {
	var d differences
	d.field("filter_subjects", filters(want), filters(have))
	d.field("deliver_policy", want.DeliverPolicy, have.DeliverPolicy)
	d.field("replay_policy", want.ReplayPolicy, have.ReplayPolicy)
	d.field("ack_policy", want.AckPolicy, have.AckPolicy)
	d.field("ack_wait", want.AckWait, have.AckWait)
	d.field("max_deliver", want.MaxDeliver, have.MaxDeliver)
	d.field("max_ack_pending", want.MaxAckPending, have.MaxAckPending)
	d.field("max_waiting", want.MaxWaiting, have.MaxWaiting)
	d.field("backoff", len(want.BackOff), len(have.BackOff))
	d.field("headers_only", want.HeadersOnly, have.HeadersOnly)
	d.field("max_batch", want.MaxRequestBatch, have.MaxRequestBatch)
	d.field("max_expires", want.MaxRequestExpires, have.MaxRequestExpires)
	d.field("max_bytes", want.MaxRequestMaxBytes, have.MaxRequestMaxBytes)
	d.field("inactive_threshold", want.InactiveThreshold, have.InactiveThreshold)
	d.field("mem_storage", want.MemoryStorage, have.MemoryStorage)
	d.field("deliver_subject", want.DeliverSubject, have.DeliverSubject)
	d.field("priority_policy", want.PriorityPolicy, have.PriorityPolicy)
	return d
}

func filters(c jetstream.ConsumerConfig) []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	return c.FilterSubjects
}
