package check

import (
	"cmp"
	"slices"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/broker"
)

// rule says what a difference in a field breaks. A difference without a rule is a
// warning: an operator may have meant it.
type rule struct {
	field       string
	roles       []broker.Role // none: all
	breaks      string        // what no longer holds
	onlyShorter bool          // only a duration shorter than wanted breaks it
	immutable   bool          // servers don't change the field of an existing stream
}

// rules are the promises of docs/architecture.md, by the fields that they depend on.
// The first that fits a difference counts.
var rules = []rule{
	// Nothing is lost.
	{field: "retention", roles: []broker.Role{broker.Jobs}, breaks: "a job must stay until it is settled, and no longer", immutable: true},
	{field: "retention", breaks: "what is read there must stay", immutable: true},
	{field: "discard", roles: []broker.Role{broker.Jobs}, breaks: "when full, jobs vanish and no producer learns of it"},
	{field: "storage", breaks: "a restart of the server loses what is in it", immutable: true},
	{field: "max_age", roles: []broker.Role{broker.Jobs}, breaks: "a job that waits so long vanishes"},
	{field: "max_msgs_per_subject", roles: []broker.Role{broker.Jobs}, breaks: "all jobs have one subject, and older ones vanish"},
	{field: "no_ack", breaks: "nobody learns whether a message was stored"},
	{field: "max_deliver", breaks: "a job that is delivered so often stays behind, given to nobody"},
	{field: "deliver_policy", breaks: "jobs from before the consumer are never delivered", immutable: true},
	{field: "ack_policy", breaks: "a job must be acknowledged by itself, and only when it is settled", immutable: true},
	{field: "headers_only", breaks: "jobs come without their contents"},
	{field: "filter_subjects", breaks: "jobs are published to another subject"},
	{field: "subjects", breaks: "what the worker and its producers publish does not arrive there"},
	{field: "mirror", breaks: "nothing can be published to a mirror", immutable: true},
	{field: "subject_transform", breaks: "messages are stored under other subjects"},
	{field: "sealed", breaks: "nothing can be written to it", immutable: true},
	// If a dead letter or a record is refused, its job can't be settled.
	{field: "discard_new_per_subject", breaks: "a message whose subject is full is refused"},
	{field: "max_msgs_per_subject", roles: []broker.Role{broker.Dead}, breaks: "one entry a request is to be kept, the newest"},
	{field: "allow_rollup_hdrs", roles: []broker.Role{broker.Results, broker.Limits}, breaks: "entries can't be removed"},
	{field: "allow_direct", roles: []broker.Role{broker.Jobs}, breaks: "the worker reads undeliverable jobs directly, and has no other right"},
	{field: "allow_direct", roles: []broker.Role{broker.Dead}, breaks: "worker dlq can't read it in batches"},
	{field: "allow_direct", roles: []broker.Role{broker.Results}, breaks: "worker request can't read the history of a request"},
	{field: "deny_delete", roles: []broker.Role{broker.Jobs}, breaks: "an undeliverable job can't be removed", immutable: true},

	// Nothing is announced that is not recorded.
	{field: "republish", roles: []broker.Role{broker.Results}, breaks: "nobody is told what became of a request"},

	// Nothing is sent twice, and no limit is exceeded.
	{field: "ack_wait", breaks: "a job is given to a second worker while the first still has it", onlyShorter: true},
	{field: "backoff", breaks: "a job is given to a second worker while the first still has it"},
	{field: "max_age", roles: []broker.Role{broker.Limits}, breaks: "what a phone was sent is lost before its window ends", onlyShorter: true},

	// The worker's requests are served.
	{field: "deliver_subject", breaks: "the worker pulls its jobs", immutable: true},
	{field: "priority_policy", breaks: "the worker's requests for jobs are refused"},
	{field: "max_batch", breaks: "the worker's requests for jobs are refused"},
	{field: "max_expires", breaks: "the worker's requests for jobs are refused"},
	{field: "replay_policy", breaks: "jobs come as slowly as they were published", immutable: true},
}

// settingOf is the setting that a field follows, by role; "" stands for every role.
var settingOf = map[broker.Role]map[string]string{
	"":              {"num_replicas": "nats.replicas"},
	broker.Jobs:     {"subjects": "jobs.subject", "max_bytes": "jobs.max_bytes", "duplicate_window": "jobs.duplicate_window"},
	broker.Consumer: {"filter_subjects": "jobs.subject", "ack_wait": "worker.ack_wait"},
	broker.Results:  {"max_age": "results.retention", "republish": "results.subject"},
	broker.Limits:   {"max_age": "limits.phone"},
	broker.Dead:     {"subjects": "dead_letters.subject", "max_age": "dead_letters.retention"},
}

// judge judges a difference, and names the setting that the field follows, if any.
func judge(item broker.Item, d broker.Difference) (j judgement, key string) {
	key = cmp.Or(settingOf[item.Role][d.Field], settingOf[""][d.Field])
	fix := fixDifference(item, key)
	i := slices.IndexFunc(rules, func(rule rule) bool {
		return rule.field == d.Field && (rule.roles == nil || slices.Contains(rule.roles, item.Role)) && (!rule.onlyShorter || shorter(d))
	})
	if i < 0 {
		return judgement{Warn, d.String(), fix}, key
	}
	switch {
	case rules[i].immutable && item.Kind == broker.KindConsumer:
		fix = "it can't be changed in place: delete it with the nats tool, and run worker provision"
	case rules[i].immutable:
		fix = "it can't be changed in place: once it is empty, delete it with the nats tool, and run worker provision"
	}
	return judgement{Fail, d.String() + ": " + rules[i].breaks, fix}, key
}

// fixDifference says how to change a field that can be changed.
func fixDifference(item broker.Item, key string) string {
	edit := "nats stream edit " + item.Stream
	if item.Kind == broker.KindConsumer {
		edit = "nats consumer edit " + item.Stream + " " + item.Name
	}
	if key == "" {
		return "change it with " + edit
	}
	return "change " + key + ", or the " + string(item.Kind) + " with " + edit
}

// shorter reports whether a duration is shorter than wanted; 0 is for ever.
func shorter(d broker.Difference) bool {
	want, err1 := time.ParseDuration(d.Want)
	have, err2 := time.ParseDuration(d.Have)
	if err1 != nil || err2 != nil {
		return true
	}
	return have > 0 && (want == 0 || have < want)
}
