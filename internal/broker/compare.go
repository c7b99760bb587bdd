package broker

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
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

// The fields that the worker's guarantees rest on. What an operator may tune
// without harm (description, metadata, placement, compression) is not among them.
var (
	streamFields = strings.Fields(`subjects retention discard discard_new_per_subject storage num_replicas
		max_bytes max_msgs max_msgs_per_subject max_msg_size max_consumers max_age duplicate_window no_ack sealed
		deny_delete deny_purge allow_rollup_hdrs allow_direct republish mirror sources subject_transform`)
	consumerFields = strings.Fields(`filter_subjects deliver_policy replay_policy ack_policy ack_wait max_deliver
		max_ack_pending max_waiting backoff headers_only max_batch max_expires max_bytes inactive_threshold
		mem_storage deliver_subject priority_policy`)
)

func compareConsumer(want, have jetstream.ConsumerConfig) []Difference {
	for _, c := range []*jetstream.ConsumerConfig{&want, &have} {
		if c.FilterSubject != "" { // the same as a list of one
			c.FilterSubjects = []string{c.FilterSubject}
		}
	}
	return differences(want, have, consumerFields)
}

// differences compares those fields of two configurations that have one of the names.
func differences[T any](want, have T, names []string) []Difference {
	var list []Difference
	w, h := reflect.ValueOf(want), reflect.ValueOf(have)
	for i := range w.NumField() {
		name, _, _ := strings.Cut(w.Type().Field(i).Tag.Get("json"), ",")
		if !slices.Contains(names, name) {
			continue
		}
		if a, b := show(w.Field(i)), show(h.Field(i)); a != b {
			list = append(list, Difference{Field: name, Want: a, Have: b})
		}
	}
	return list
}

func show(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case time.Duration, fmt.Stringer:
		return fmt.Sprint(value)
	case int, int32, int64:
		if v.Int() <= 0 { // the server takes 0 and -1 for no limit
			return "-1"
		}
		return fmt.Sprint(value)
	default:
		var text strings.Builder
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(value) // nothing in a configuration can't be encoded
		return strings.TrimSpace(text.String())
	}
}
