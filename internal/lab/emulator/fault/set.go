package fault

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/number"
)

// maxFaults bounds the faults, because every request looks at each of them.
const maxFaults = 1000

// Set is the faults in their order. It must not be used concurrently.
type Set []*Fault

// Pick returns the first fault that meets a request to these numbers, and counts it as
// fired. If the limits refuse the message, no fault that accepts it fires.
func (s Set) Pick(action string, numbers []number.Number, limited bool) *Fault {
	for _, f := range s {
		switch {
		case f.gone(),
			action != f.action,
			limited && f.Accepts(),
			f.phone != "" && !slices.ContainsFunc(numbers, func(n number.Number) bool { return n.Key == f.phone }),
			f.share > 0 && rand.Float64() >= f.share:
			continue
		}
		f.fired++
		return f
	}
	return nil
}

func (f *Fault) gone() bool { return f.count > 0 && f.fired >= f.count }

// Listed is a fault as GET /_/faults shows it.
type Listed struct {
	Spec  string `json:"spec"`
	Fired int    `json:"fired"`
	Gone  bool   `json:"gone"` // it fired as often as its count allows
}

// List shows the faults in their order.
func (s Set) List() []Listed {
	listed := make([]Listed, len(s))
	for i, f := range s {
		listed[i] = Listed{Spec: f.Spec, Fired: f.fired, Gone: f.gone()}
	}
	return listed
}

// Decode reads the body of POST /_/faults: JSON, or one SPEC a line. Its error
// names the line or element and the rule.
func Decode(body []byte) (Set, error) {
	elements, where, err := split(bytes.TrimSpace(body))
	if err != nil {
		return nil, err
	}
	var set Set
	for i, element := range elements {
		if element == "" && where == "line" {
			continue
		}
		var f *Fault
		spec, err := specOf(element)
		if err == nil {
			f, err = Parse(spec)
		}
		if err != nil {
			return nil, fmt.Errorf("%s %d: %w", where, i+1, err)
		}
		set = append(set, f)
	}
	if len(set) > maxFaults {
		return nil, fmt.Errorf("at most %d faults, not %d", maxFaults, len(set))
	}
	return set, nil
}

// split returns the elements of a body, and what each of them is there.
func split(body []byte) (elements []any, where string, err error) {
	if json.Valid(body) {
		var value any
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.UseNumber() // so that a number keeps its text
		_ = decoder.Decode(&value)
		elements, isArray := value.([]any)
		if !isArray {
			elements = []any{value}
		}
		return elements, "fault", nil
	}
	if bytes.HasPrefix(body, []byte("[")) || bytes.HasPrefix(body, []byte("{")) {
		return nil, "", errors.New("must be one JSON value, or text with one SPEC a line")
	}
	for line := range strings.SplitSeq(string(body), "\n") {
		elements = append(elements, strings.TrimSpace(line))
	}
	return elements, "line", nil
}

// specOf returns the SPEC of a JSON value: a text, or an object of its items.
func specOf(element any) (string, error) {
	if spec, isText := element.(string); isText {
		return spec, nil
	}
	members, isObject := element.(map[string]any)
	if !isObject {
		return "", errors.New("must be an object, or a SPEC in a string")
	}
	// What GET /_/faults shows can be set again as it is.
	delete(members, "fired")
	delete(members, "gone")
	items := []string{""}
	for _, key := range slices.Sorted(maps.Keys(members)) {
		switch members[key].(type) {
		case string, json.Number:
		default:
			return "", errors.New("fault: every value must be a string or a number")
		}
		text := fmt.Sprint(members[key])
		switch {
		case key == "spec" && len(members) > 1:
			return "", errors.New("fault: spec goes with no other option")
		case key == "spec":
			return text, nil
		case key == "kind":
			items[0] = text
		default:
			items = append(items, key+"="+text)
		}
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write(items) // a strings.Builder takes everything
	w.Flush()
	return b.String(), nil
}
