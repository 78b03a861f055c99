Feature: Nightly backups
  What a volume held when the sync began is what its snapshot holds.

  @K01
  Scenario: A nightly backup holds what the volume held
    Given a volume "app-data" holding 200 files and 64 MiB from seed 7
    And a repository "main"
    And a replication source "nightly" for "app-data" into "main" at "0 3 * * *"
    When "nightly" synchronises twice more
    Then "nightly" has synchronised twice
    And the newest snapshot of "nightly" restores to what "app-data" held

  Scenario: Each night's changes are in that night's snapshot
    Given a volume "app-data" holding 40 files and 2 MiB from seed 1
    And a repository "main"
    And a replication source "nightly" for "app-data" into "main" at "0 3 * * *"
    When "nightly" synchronises once more
    And the workload changes 10, adds 5 and removes 5 files of "app-data" from seed 2
    And "nightly" synchronises once more
    Then the newest snapshot of "nightly" restores to what "app-data" held
    And the snapshot of "nightly" 1 before the newest restores to what "app-data" held
    And each sync of "nightly" left exactly one snapshot

  Scenario: What the format cannot carry is declared, and everything else comes back
    Given these manifests
      """
      apiVersion: v1
      kind: Namespace
      metadata:
        name: default
        annotations: {volsync.backube/privileged-movers: "true"}
      """
    And a volume "app-data" holding 60 files and 1 MiB with hard links, holes, symlinks, odd modes, odd times, many owners, empty files, empty directories, deep paths from seed 3
    And a repository "main"
    And a replication source "nightly" for "app-data" into "main" on tag "one"
    When "nightly" synchronises once more
    Then the newest snapshot of "nightly" restores to what "app-data" held

  @virtual-time
  Scenario: The repository verifies after a week of nights
    Given a volume "app-data" holding 30 files and 1 MiB from seed 4
    And a repository "main"
    And a replication source "nightly" for "app-data" into "main" at "0 3 * * *"
    When 7 days pass
    Then "nightly" has synchronised 8 times
    And the repository "main" verifies
    And the repository "main" is still the same
