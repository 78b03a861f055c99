Feature: A controller that dies
  A controller may end at any moment; whoever follows it takes up what the cluster shows, and no sync is lost or done twice.

  Background:
    Given a volume "app-data" holding 20 files and 512 KiB from seed 61
    And a repository "main"
    And a replication source "app" for "app-data" into "main" on tag "one"
    When "app" synchronises once more
    And the workload changes 5, adds 5 and removes 5 files of "app-data" from seed 62

  Scenario: A leader that is killed is followed when its lease has run out
    Given a controller that leads by a lease
    When the leading controller is killed
    And the ReplicationSource "app" is triggered with "two"
    And another controller leads
    And "app" has synchronised twice
    Then each sync of "app" left exactly one snapshot
    And the newest snapshot of "app" restores to what "app-data" held

  Scenario: A controller that ends while the volume snapshot is being made goes on with it
    Given the fault "csi-snapshot-never-ready"
    When the ReplicationSource "app" is triggered with "two"
    And a condition of the ReplicationSource "app" says "VolumeSnapshot/volsync-app-src to become ready to use"
    And the controller stops
    And the fault "csi-snapshot-never-ready" ends
    And the controller starts again
    And "app" has synchronised twice
    Then each sync of "app" left exactly one snapshot
    And the newest snapshot of "app" restores to what "app-data" held

  Scenario: A controller that ends while the mover runs does not start a second one
    When the ReplicationSource "app" is triggered with "two"
    And the mover of "app" has started
    And the controller stops
    And 10 seconds pass
    And the controller starts again
    And "app" has synchronised twice
    Then each sync of "app" left exactly one snapshot
    And the newest snapshot of "app" restores to what "app-data" held

  Scenario: A controller that ends while it clears up finishes that, too
    Given the fault "csi-delete-snapshot-fails"
    And a replication source "late" for "app-data" into "main" on tag "one"
    When "late" synchronises once more
    And the ReplicationSource "late" is triggered with "two"
    And a condition of the ReplicationSource "late" says "VolumeSnapshot/volsync-late-src of an earlier sync to be deleted"
    And the controller stops
    And the fault "csi-delete-snapshot-fails" ends
    And the controller starts again
    And "late" has synchronised twice
    Then each sync of "late" left exactly one snapshot
    And the newest snapshot of "late" restores to what "app-data" held

  Scenario: A controller that ends during a restore completes it
    When an unfilled claim "app-data-again" is created
    And a replication destination "back" from "main" of "app" into "app-data-again" on tag "one" is created
    And the mover of "back" has started
    And the controller stops
    And 10 seconds pass
    And the controller starts again
    And "back" completes
    Then the last run of the ReplicationDestination "back" was successful
    And the claim "app-data-again" holds what "app-data" held at the last sync

  Scenario: Nodes without power for a moment lose runs and no data
    When the ReplicationSource "app" is triggered with "two"
    And the mover of "app" has started
    And the node loses power for a moment
    And "app" has synchronised twice
    Then each sync of "app" left exactly one snapshot
    And the newest snapshot of "app" restores to what "app-data" held
    And the repository "main" verifies
