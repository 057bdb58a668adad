package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Names of what Write leaves in a directory.
const (
	PageFile    = "benchmarks.md"
	PictureFile = "benchmarks-router.svg"
	RunFile     = "benchmarks-router.json"
	BeforeFile  = "benchmarks-router-before.json"
)

// Write leaves the page, its picture and the figures in a directory. The
// figures of an earlier run, if they are there, become the page's "before".
func Write(dir string, r *Run) error {
	before, err := Load(filepath.Join(dir, BeforeFile))
	if errors.Is(err, fs.ErrNotExist) {
		before, err = nil, nil
	}
	if err != nil {
		return err
	}
	if err := Save(filepath.Join(dir, RunFile), r); err != nil {
		return err
	}
	for name, content := range map[string][]byte{PictureFile: Picture(r), PageFile: Page(r, before, PictureFile)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return nil
}

// Save writes a run's figures.
func Save(name string, r *Run) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	if err := os.WriteFile(name, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	return nil
}

// Load reads a run's figures.
func Load(name string) (*Run, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read figures: %w", err)
	}
	r := &Run{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("read figures in %s: %w", name, err)
	}
	return r, nil
}
