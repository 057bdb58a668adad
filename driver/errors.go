package driver

import (
	"errors"
	"strings"
)

// recoverable marks a mistake that may be gone at the next attempt.
type recoverable struct{ error }

func (r *recoverable) Unwrap() error { return r.error }

// startError is what StartTask returns. Nomad asks the outermost error whether
// trying again can help; a config mistake does not mend itself, and a task
// that fails for good shows its reason at once instead of after many restarts.
type startError struct {
	err   error
	again bool
	// launch: the system refused, not the config.
	launch bool
}

func (e *startError) Error() string {
	// Nomad prints a task event on one line.
	return strings.ReplaceAll(e.err.Error(), "\n", "; ")
}
func (e *startError) Unwrap() error       { return e.err }
func (e *startError) IsRecoverable() bool { return e.again }

// configError is final unless every mistake in it may pass by itself.
func configError(err error) error {
	if err == nil {
		return nil
	}
	return &startError{err: err, again: allRecoverable(err)}
}

func allRecoverable(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			if !allRecoverable(e) {
				return false
			}
		}
		return true
	}
	var r *recoverable
	return errors.As(err, &r)
}

// launchError may pass: a full disk, no memory, a binary that is being replaced.
func launchError(err error) error { return &startError{err: err, again: true, launch: true} }
