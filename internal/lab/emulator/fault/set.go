package fault

import (
	"encoding/json"
	"fmt"
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

// MarshalJSON shows a fault; it is gone if it fired as often as its count allows.
func (f *Fault) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"spec": f.Spec, "fired": f.fired, "gone": f.gone()})
}

// Decode reads the body of POST /_/faults, a SPEC on each line. Its error names the line and the rule.
func Decode(body string) (set Set, err error) {
	for i, line := range strings.Split(body, "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		f, err := Parse(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		set = append(set, f)
	}
	if len(set) > maxFaults {
		return nil, fmt.Errorf("at most %d faults, not %d", maxFaults, len(set))
	}
	return set, nil
}
