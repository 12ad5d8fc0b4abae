package dev.pocketvec.harness

import android.content.Context
import dev.pocketvec.Manifest
import dev.pocketvec.PocketvecException
import java.io.File

/** Where the driver puts what shell and app share. */
private const val DRIVER_ROOT = "/data/local/tmp/pocketvec"

/**
 * Where results go, for adb to pull.
 *
 * @throws PocketvecException when the phone's shared storage is not mounted.
 */
internal fun resultsFolder(context: Context): File {
    val media = mediaFolder(context)
        ?: throw PocketvecException("the phone's shared storage is not mounted: no place for results")
    return File(media, "results")
}

/** Artifact folders that were pushed to the app or by the driver, by name. */
internal fun installedArtifacts(context: Context): List<File> =
    listOfNotNull(mediaFolder(context), File(DRIVER_ROOT))
        .map { File(it, "artifacts") }
        .flatMap { it.listFiles().orEmpty().asList() }
        .filter { File(it, Manifest.NAME).canRead() }
        .distinctBy(File::getName)
        .sortedBy(File::getName)

/** Where runtimes keep packed weights; the system may empty it when the phone is full. */
internal fun weightCacheFolder(context: Context): File = File(context.cacheDir, "weights")

/** The app's folder that adb can write to and read from as well: /sdcard/Android/media/PACKAGE. */
private fun mediaFolder(context: Context): File? = context.externalMediaDirs.firstOrNull { it != null }
