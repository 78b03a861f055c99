Feature: Loss of a claim and restore
  A claim that is lost comes back as it was at the last sync.

  Background:
    Given these manifests
      """
      apiVersion: v1
      kind: Namespace
      metadata:
        name: default
        annotations: {volsync.backube/privileged-movers: "true"}
      """
    And a volume "app-data" holding 50 files and 4 MiB owned by 568:568 from seed 7
    And a repository "main"
    And a replication source "nightly" for "app-data" into "main" at "0 3 * * *"

  Scenario: A lost claim comes back through a destination of one's own
    When "nightly" synchronises once more
    And the PersistentVolumeClaim "app-data" is lost
    And an unfilled claim "app-data-again" is created
    And a replication destination "restore" from "main" of "nightly" into "app-data-again" on tag "fire" is created
    And "restore" completes
    Then the last run of the ReplicationDestination "restore" was successful
    And the claim "app-data-again" holds what "app-data" held at the last sync

  Scenario: What came after the last sync is what is lost, and nothing else
    When "nightly" synchronises once more
    And the workload changes 5, adds 5 and removes 5 files of "app-data" from seed 9
    And the PersistentVolumeClaim "app-data" is lost
    And an unfilled claim "app-data-again" is created
    And a replication destination "restore" from "main" of "nightly" into "app-data-again" on tag "fire" is created
    And "restore" completes
    Then the claim "app-data-again" holds what "app-data" held at the last sync

  Scenario: A destination offers its restore as an image
    When "nightly" synchronises once more
    And a replication destination "restore" from "main" of "nightly" on tag "fire" is created
    And "restore" completes
    Then "restore" offers an image
