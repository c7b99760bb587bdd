package emulator

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxFaults bounds the faults that are set at once, because every request looks
// at each of them.
const maxFaults = 1000

// armed is a fault that waits for its request.
type armed struct {
	Fault
	key   string // of the phone
	fired int
}

// faultSet picks the fault that meets a request. It is guarded by the
// emulator's lock.
type faultSet []*armed

func newFaultSet(faults []Fault) faultSet {
	set := make(faultSet, 0, len(faults))
	for _, f := range faults {
		n, _ := parseNumber(f.Phone)
		set = append(set, &armed{Fault: f, key: n.key})
	}
	return set
}

// pick returns the first fault that meets a request, and counts it as fired.
// limited says that the limits refuse the message: then no fault that accepts
// it fires. dice gives a number from 0 up to 1.
func (s faultSet) pick(action string, numbers []number, limited bool, dice func() float64) *Fault {
	for _, a := range s {
		switch {
		case a.Count > 0 && a.fired >= a.Count,
			action != cmp.Or(a.Action, ActionSendSms),
			limited && a.accepts(),
			a.key != "" && !slices.ContainsFunc(numbers, func(n number) bool { return n.key == a.key }),
			a.Share > 0 && dice() >= a.Share:
			continue
		}
		a.fired++
		return &a.Fault
	}
	return nil
}

// listedFault is a fault as GET /_/faults shows it.
type listedFault struct {
	Spec  string `json:"spec"`
	Fired int    `json:"fired"`
	// Gone says that it fired as often as its count allows.
	Gone bool `json:"gone"`
}

func (s faultSet) list() []listedFault {
	listed := make([]listedFault, 0, len(s))
	for _, a := range s {
		listed = append(listed, listedFault{Spec: a.Spec(), Fired: a.fired, Gone: a.Count > 0 && a.fired >= a.Count})
	}
	return listed
}

// decodeFaults reads the body of POST /_/faults: JSON, or one SPEC a line. Its
// error names the line or element and the rule.
func decodeFaults(body []byte) ([]Fault, error) {
	text := strings.TrimSpace(string(body))
	if text == "" {
		return nil, nil
	}
	if strings.ContainsAny(text[:1], `[{"`) {
		return decodeFaultsJSON([]byte(text))
	}
	var faults []Fault
	line := 0
	for spec := range strings.SplitSeq(text, "\n") {
		line++
		if spec = strings.TrimSpace(spec); spec == "" {
			continue
		}
		f, err := ParseFault(spec)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		faults = append(faults, f)
	}
	return faults, checkCount(faults)
}

func checkCount(faults []Fault) error {
	if len(faults) > maxFaults {
		return fmt.Errorf("at most %d faults, not %d", maxFaults, len(faults))
	}
	return nil
}

func decodeFaultsJSON(data []byte) ([]Fault, error) {
	elements := []json.RawMessage{data}
	if data[0] == '[' {
		elements = nil
		if err := json.Unmarshal(data, &elements); err != nil {
			return nil, errors.New("must be one JSON value, or text with one SPEC a line")
		}
	}
	var faults []Fault
	for i, element := range elements {
		f, err := decodeFaultJSON(element)
		if err != nil {
			return nil, fmt.Errorf("fault %d: %w", i+1, err)
		}
		faults = append(faults, f)
	}
	return faults, checkCount(faults)
}

// decodeFaultJSON reads a SPEC in a string, or an object of a SPEC's items.
func decodeFaultJSON(data []byte) (Fault, error) {
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		return Fault{}, errors.New("must be one JSON value, or text with one SPEC a line")
	}
	if spec, ok := value.(string); ok {
		return ParseFault(spec)
	}
	members, ok := value.(map[string]any)
	if !ok {
		return Fault{}, errors.New("must be an object, or a SPEC in a string")
	}
	// What GET /_/faults shows can be set again as it is.
	delete(members, "fired")
	delete(members, "gone")
	texts := map[string]string{}
	for key, value := range members {
		switch v := value.(type) {
		case string:
			texts[key] = v
		case float64:
			texts[key] = strconv.FormatFloat(v, 'f', -1, 64) // no exponent, which whole numbers may not have
		default:
			return Fault{}, errors.New("fault: every value must be a string or a number")
		}
	}
	if spec, ok := texts["spec"]; ok {
		if len(texts) > 1 {
			return Fault{}, errors.New("fault: spec goes with no other option")
		}
		return ParseFault(spec)
	}
	var f Fault
	if err := f.setKind(texts["kind"]); err != nil {
		return Fault{}, err
	}
	delete(texts, "kind")
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		if err := f.set(key, texts[key]); err != nil {
			return Fault{}, err
		}
	}
	return f, f.Validate()
}
