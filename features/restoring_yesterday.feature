Feature: Restoring yesterday
  An older state can be had by its place in the row or by its time.

  Background:
    Given a volume "app-data" holding 30 files and 1 MiB from seed 7
    And a repository "main"
    And a replication source "nightly" for "app-data" into "main" at "0 3 * * *"
    When "nightly" synchronises once more
    And this moment is called "monday"
    And the workload changes 5, adds 2 and removes 2 files of "app-data" from seed 8
    And "nightly" synchronises once more
    And this moment is called "tuesday"
    And the workload changes 5, adds 2 and removes 2 files of "app-data" from seed 9
    And "nightly" synchronises once more

  @K17
  Scenario: The state of a moment comes back by restoreAsOf
    Then the snapshot of "nightly" as of "monday" restores to what "app-data" held at "monday"
    And the snapshot of "nightly" as of "tuesday" restores to what "app-data" held at "tuesday"

  @K17
  Scenario: The state before the last comes back by previous
    Then the newest snapshot of "nightly" restores to what "app-data" held
    And the snapshot of "nightly" 1 before the newest restores to what "app-data" held at "tuesday"
    And the snapshot of "nightly" 2 before the newest restores to what "app-data" held at "monday"
