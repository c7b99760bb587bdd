package fault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/number"
)

// maxFaults bounds the faults that are set at once, because every request looks
// at each of them.
const maxFaults = 1000

// Set picks the fault that meets a request. It must not be used concurrently.
type Set []*armed

// armed is a fault that waits for its request.
type armed struct {
	Fault
	phone string // the number's key
	fired int
}

// NewSet checks faults and arms them.
func NewSet(faults []Fault) (Set, error) {
	if len(faults) > maxFaults {
		return nil, fmt.Errorf("at most %d faults, not %d", maxFaults, len(faults))
	}
	set := make(Set, 0, len(faults))
	for i, f := range faults {
		if err := f.Validate(); err != nil {
			return nil, fmt.Errorf("fault %d: %w", i+1, err)
		}
		n, _ := number.Parse(f.Phone)
		set = append(set, &armed{Fault: f, phone: n.Key})
	}
	return set, nil
}

func (a *armed) gone() bool { return a.Count > 0 && a.fired >= a.Count }

// Pick returns the first fault that meets a request to these numbers, and counts
// it as fired. limited says that the limits refuse the message: then no fault
// that accepts it fires. dice gives a number from 0 up to 1.
func (s Set) Pick(action string, numbers []number.Number, limited bool, dice func() float64) *Fault {
	for _, a := range s {
		switch {
		case a.gone(),
			action != a.action(),
			limited && a.Accepts(),
			a.phone != "" && !slices.ContainsFunc(numbers, func(n number.Number) bool { return n.Key == a.phone }),
			a.Share > 0 && dice() >= a.Share:
			continue
		}
		a.fired++
		return &a.Fault
	}
	return nil
}

// Listed is a fault as GET /_/faults shows it.
type Listed struct {
	Spec  string `json:"spec"`
	Fired int    `json:"fired"`
	// Gone says that it fired as often as its count allows.
	Gone bool `json:"gone"`
}

// List shows the faults in their order.
func (s Set) List() []Listed {
	listed := make([]Listed, 0, len(s))
	for _, a := range s {
		listed = append(listed, Listed{Spec: a.Spec(), Fired: a.fired, Gone: a.gone()})
	}
	return listed
}

// Decode reads the body of POST /_/faults: JSON, or one SPEC a line. Its error
// names the line or element and the rule.
func Decode(body []byte) ([]Fault, error) {
	text := strings.TrimSpace(string(body))
	if text != "" && (strings.ContainsAny(text[:1], `[{`) || json.Valid([]byte(text))) {
		return decodeJSON([]byte(text))
	}
	var faults []Fault
	line := 0
	for spec := range strings.SplitSeq(text, "\n") {
		line++
		if spec = strings.TrimSpace(spec); spec == "" {
			continue
		}
		f, err := Parse(spec)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		faults = append(faults, f)
	}
	return faults, nil
}

func decodeJSON(data []byte) ([]Fault, error) {
	if data[0] != '[' {
		data = slices.Concat([]byte("["), data, []byte("]"))
	}
	var elements []any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // so that a number keeps its text
	if !json.Valid(data) || decoder.Decode(&elements) != nil {
		return nil, errors.New("must be one JSON value, or text with one SPEC a line")
	}
	var faults []Fault
	for i, element := range elements {
		f, err := decodeElement(element)
		if err != nil {
			return nil, fmt.Errorf("fault %d: %w", i+1, err)
		}
		faults = append(faults, f)
	}
	return faults, nil
}

// decodeElement reads a SPEC in a string, or an object of a SPEC's items.
func decodeElement(element any) (Fault, error) {
	members, isObject := element.(map[string]any)
	if spec, isText := element.(string); isText {
		members, isObject = map[string]any{"spec": spec}, true
	}
	if !isObject {
		return Fault{}, errors.New("must be an object, or a SPEC in a string")
	}
	// What GET /_/faults shows can be set again as it is.
	delete(members, "fired")
	delete(members, "gone")
	items := []string{""}
	for _, key := range slices.Sorted(maps.Keys(members)) {
		var text string
		switch value := members[key].(type) {
		case string:
			text = value
		case json.Number:
			text = value.String()
		default:
			return Fault{}, errors.New("fault: every value must be a string or a number")
		}
		switch {
		case key == "spec" && len(members) > 1:
			return Fault{}, errors.New("fault: spec goes with no other option")
		case key == "spec":
			return Parse(text)
		case key == "kind":
			items[0] = text
		default:
			items = append(items, key+"="+text)
		}
	}
	return build(items)
}
